"""What the Learn page says beside its figures: formulas, glossary, sources, and figures that others measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from math import log
from statistics import mean
from typing import Any

from restorelcc.models.loading import DEMO_FOLDER

STRATEGIES, TEACHERS = DEMO_FOLDER / "strategies.json", DEMO_FOLDER / "teachers.json"

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
    "n:m sparsity": "At most n of every m neighbouring weights are not zero; 2:4 is the pattern that GPUs run faster.",
    "NLL, nats": "Negative log-likelihood: −ln of the probability that the model gave to the token that came. Natural "
    "logarithms are counted in nats.",
    "Output projection, $W_O$": "The matrix that maps all heads of a layer, side by side, into the residual stream.",
    "Perplexity": "exp of the mean NLL per token: among how many equally likely tokens the model is as unsure.",
    "Residual stream": "The vector per token that every layer reads from and adds to.",
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

PAPER = {
    "Wanda 50 %": (
        5.68,
        7.26,
        {"RestoreLCC": 6.93, "LoRA": 7.09, "DoRA": 7.11, "EoRA": 7.14, "LoFiT": 7.35},
    ),
    "SparseGPT 2:4": (
        5.68,
        11.04,
        {"RestoreLCC": 8.99, "DoRA": 9.16, "LoRA": 9.32, "EoRA": 9.87, "LoFiT": 10.02, "FLAP": 10.57},
    ),
}
"""(dense, pruned, {method: restored}): perplexities of LLaMA-7B on WikiText-2, as published by Feng et al."""


def published_shares(pruning: str) -> list[tuple[str, float]]:
    """Recovered shares that the published perplexities amount to."""
    dense, pruned, restored = PAPER[pruning]
    return [(name, log(pruned / value) / log(pruned / dense)) for name, value in restored.items()]


TEACHER_NAMES = {
    "injected": "mean put back, untrained",
    "injected_in_order": "the same, layer after layer",
    "ce_given": "cross-entropy, given text",
    "kl_given": "distillation, given text",
    "ce_own": "cross-entropy, model’s own text",
    "kl_own": "distillation, model’s own text",
}

STRATEGY_NAMES = {
    "together_dense": "predicted, together, to the dense model",
    "together": "predicted, together",
    "towards_dense": "predicted, alone, to the dense model",
    "predicted": "predicted, alone",
    "gradient": "gradient norm",
    "first_layers": "first layers",
    "output_weighted": "largest output-weighted loss",
    "probing": "probe accuracy",
    "random": "at random",
    "relative_error": "largest relative error",
}
Figures = dict[str, tuple[float, float]]
"""What was compared: its share, 0 to 1, and the standard error of that."""


@dataclass(frozen=True)
class Judged:
    """How strategies, or teachers, fared on one text."""

    tokens: int
    shares: Figures
    """Of the lost log-likelihood, recovered."""
    nearer: Figures
    """Of the distance to the dense model, gone."""


@cache
def measured_strategies() -> tuple[dict[str, Any], dict[str, Judged]]:
    """(how it was measured, what was found by each text) as `tests/benchmarks/strategies.py` wrote it, means over its
    seeds."""
    facts = json.loads(STRATEGIES.read_text(encoding="utf-8"))
    return facts, {name: _judged(found) for name, found in facts.pop("texts").items()}


@cache
def measured_teachers() -> tuple[dict[str, Any], Judged]:
    """(how it was measured, what was found) as `tests/benchmarks/teachers.py` wrote it, of one seed."""
    facts = json.loads(TEACHERS.read_text(encoding="utf-8"))
    return facts, _judged(facts)


def _judged(found: dict[str, Any]) -> Judged:
    rows = found["recovered"].items()
    shares, nearer = (
        {name: (mean(row[key]), row[f"{key}_stderr"]) for name, row in rows} for key in ("shares", "nearer")
    )
    return Judged(found["tokens"], shares, nearer)
