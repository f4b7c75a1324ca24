"""What to look up on the Learn page: formulas, glossary, sources."""

from __future__ import annotations

import streamlit as st

FORMULAS = (
    ("Lost activation", "Eq. 2", r"\delta z = z_{\text{dense}} - z_{\text{pruned}}", "Per head, at one token."),
    (
        "Components",
        "Eq. 3",
        r"\begin{gathered}\Delta Z = U\,\Sigma\,V^{\top} \\[4pt] "
        r"\mathbb{E}[\delta z\,\delta z^{\top}] = \sum_i \tfrac{\sigma_i^2}{N}\, v_i v_i^{\top}\end{gathered}",
        "Rows of ΔZ are the δz of N tokens, rows of Vᵀ the components. The second line says the same with one small "
        "matrix per head, however long the text is; it is what the app computes.",
    ),
    (
        "Main component",
        "Eq. 4",
        r"c = \sum_{i \le K} \alpha_i v_i, \quad \alpha_i = \mathbb{E}[\delta z] \cdot v_i",
        "With all components $K = d_{\\text{head}}$, $c$ is the mean lost activation itself.",
    ),
    ("Corrected activation", "Eq. 5", r"z_c = z_{\text{pruned}} + c", "The same c at every position."),
    (
        "Which heads",
        "Eq. 7",
        r"\begin{gathered}p\,([z_c^{q};\, z_{\text{dense}}^{q+r^{+}}]) \to 1 \\[4pt] "
        r"p\,([z_c^{q};\, z_{\text{dense}}^{q+r^{-}}]) \to 0\end{gathered}",
        "The paper’s contrastive probe: a linear classifier p per head must tell the right response r⁺ to a question q "
        "from the most similar wrong one r⁻. Heads are ranked by its held-out accuracy.",
    ),
    (
        "What is trained",
        "Eq. 8",
        r"c_{\text{learned}} = \sum_i \beta_i v_i + b",
        "The directions stay; magnitudes β and a free part b are trained, everything else is frozen.",
    ),
    (
        "Distillation",
        "our default",
        r"\mathcal{L} = \mathbb{E}_t \, \mathrm{KL}\big(p_{\text{dense}}(\cdot \mid t) \,\|\, p_{c}(\cdot \mid t)\big)",
        "Mean over tokens t; the paper minimises cross-entropy of the response instead.",
    ),
    (
        "Folding",
        "follows from linearity",
        r"\begin{gathered}W_O (z + c) = W_O z + W_O c \\[4pt] "
        r"\text{bias} \leftarrow \text{bias} + \textstyle\sum_h W_O^{(h)} c_h\end{gathered}",
        "$W_O^{(h)}$ are the columns of the output projection that read head $h$.",
    ),
    (
        "Recovered share",
        "our measure",
        r"\frac{\ln P_{\text{pruned}} - \ln P_{\text{restored}}}{\ln P_{\text{pruned}} - \ln P_{\text{dense}}}",
        "P is perplexity. 0 is the pruned model, 1 the dense one; it compares across models and texts.",
    ),
)
"""(name, where it is from, LaTeX, remark)."""
GLOSSARY = {
    "Activation": "A vector that a model computes on its way, one per token. Here, unless said otherwise, a head’s "
    "output z before the output projection.",
    "α, magnitude": "How much of component i is lost on average: the mean of δz · vᵢ. It has a sign.",
    "Calibration text": "Text that is run through the model to decide what to prune, to see what was lost, and to "
    "train what is put back.",
    "Component": "One direction vᵢ of what a head lost. A head has as many as its activation has dimensions, at "
    "right angles to one another, strongest first.",
    "Compensation": "What is put back: one constant vector c per head, added at every position.",
    "Distillation": "Training one model to give the same distribution over the next token as another, its teacher.",
    "Energy": "Mean squared length of an activation, in squared activation units. Shares of it add up to 1 over "
    "components.",
    "Grouped-query attention": "Several query heads share one key and one value head. It makes models smaller; heads "
    "still have outputs of their own.",
    "Head": "One of the parallel attention units of a layer. L2 H5 is head 5 of layer 2, both counted from 0.",
    "Magnitude pruning": "Removes the smallest weights. It looks at weights alone.",
    "Mask": "Which weights pruning left; the others are zero, and stay zero.",
    "n:m sparsity": "At most n of every m neighbouring weights are not zero; 2:4 is the pattern that GPUs run faster.",
    "NLL, nats": "Negative log-likelihood: −ln of the probability that the model gave to the token that came. Natural "
    "logarithms are counted in nats.",
    "Output projection, $W_O$": "The matrix that maps all heads of a layer, side by side, into the residual stream.",
    "Perplexity": "exp of the mean NLL per token: among how many equally likely tokens the model is as unsure.",
    "Residual stream": "The vector per token that every layer reads from and adds to.",
    "Ridge regression": "Least squares with a small penalty on large weights, in closed form.",
    "Sparsity": "Share of weights that are zero.",
    "Standard error": "How far a mean measured on so much text would typically be from its true value. Windows of "
    "text, not tokens, are the sample here, since tokens of one text vary together.",
    "Unembedding": "The matrix that turns the last residual stream into a logit per token of the vocabulary.",
    "Wanda": "Prunes the weights whose size times the typical size of their input is smallest, row by row.",
}
SOURCES = (
    (
        "Feng et al., *Restoring Pruned Large Language Models via Lost Component Compensation*, NeurIPS 2025",
        "",
        "the method",
    ),
    ("Sun et al., *A Simple and Effective Pruning Approach for Large Language Models*", "2306.11695", "Wanda"),
    ("Eldan and Li, *TinyStories*", "2305.07759", "what the embedded model was trained on"),
    ("SparseGPT", "2301.00774", "pruning that adjusts the weights that stay"),
    ("SlimGPT", "2412.18110", "structured pruning"),
    ("FLAP", "2312.11983", "structured pruning that makes up for it with mean biases"),
    ("LLM-Pruner", "2305.11627", "structured pruning"),
    ("EoRA", "2410.21271", "low-rank compensation in closed form"),
    ("PERP", "2312.15230", "retraining biases and norms after pruning"),
    ("DSnoT", "2310.08915", "exchanging pruned weights without training"),
    ("LIAR", "2407.13331", "restoring pruned models without training"),
)
"""(what, arXiv number, what it is here for)."""


def formulas() -> None:
    """The method in formulas, with the paper's numbers."""
    st.divider()
    st.markdown("#### Formulas")
    st.caption("Numbers are the paper’s (Feng et al., NeurIPS 2025).")
    for index, (name, origin, body, remark) in enumerate(FORMULAS):
        if index % 2 == 0:  # Row by row, so that they keep their order where a phone stacks the columns.
            columns = st.columns(2, gap="large")
        with columns[index % 2], st.container(border=True, key=f"learn-formula-{index}"):
            st.markdown(f"**{name}** <span class='muted'>{origin}</span>", unsafe_allow_html=True)
            st.latex(body)
            st.caption(remark)


def glossary() -> None:
    """Terms of the field, in a sentence or two."""
    st.divider()
    st.markdown("#### Glossary")
    terms = sorted(GLOSSARY.items(), key=lambda item: item[0].replace("α", "Alpha").lower())
    half = -(-len(terms) // 2)
    for column, part in zip(st.columns(2, gap="large"), (terms[:half], terms[half:]), strict=True):
        column.markdown("\n\n".join(f"**{term}.** {meaning}" for term, meaning in part))


def sources() -> None:
    """The papers that the page draws on, each with what it is here for."""
    st.divider()
    st.markdown("#### Sources")
    st.markdown(
        "\n".join(
            f"- {what}{f', [arXiv {number}](https://arxiv.org/abs/{number})' if number else ''}: {why}."
            for what, number, why in SOURCES
        )
    )
