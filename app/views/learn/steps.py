"""Sections of the Learn page: what pruning takes (steps 1 to 3), and what to look up.

Each step has words on the left and a figure of the embedded pair on the right. Steps 4 to 6: `learn_repair_views`.
"""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from restorelcc.artifacts.findings import Recipe
from restorelcc.workspace import Workspace

from ...charts import learn as learn_charts
from ...session import state
from ...values.colours import colours
from ...values.pages import PAGES
from ...values.words import METRIC_WORDS, head_name, signed
from ...widgets import controls, feedback
from ...work import lessons, open_pairs
from ...work.jobs import State, jobs
from .words import FORMULAS, GLOSSARY, SOURCES

Head = tuple[int, int]
MAP = 500  # pixels: a map has square cells, so more width would only push its colour bar away


def embedded_pair() -> Workspace | None:
    """The embedded pair as it comes, whatever pair the session looks at; while it is being opened, the progress."""
    recipe, owner = Recipe(), state.session().owner
    found = open_pairs.workspace(recipe)
    if found is not None:
        return found
    job = open_pairs.awaited(recipe, owner)
    feedback.progress(job)
    if job.finished:
        st.button("Open the embedded pair", key="learn-open", on_click=_open, args=(owner,))
    return None


def _open(owner: str) -> None:
    open_pairs.opening(Recipe(), owner)


def introduction(workspace: Workspace | None) -> None:
    """What the page is about, and what its figures are of."""
    st.markdown("### How lost component compensation works")
    with st.container(width=720):
        st.markdown(
            "Pruning sets many of a language model’s weights to zero: it gets smaller, and somewhat worse. "
            "RestoreLCC asks what every attention head stopped computing, and puts part of it back as one constant "
            "vector per head, without making a single zero non-zero. Six steps show how."
        )
        if workspace is not None:
            shape, size = workspace.findings.geometry, workspace.findings.dense_size
            other = "" if state.session().recipe == Recipe() else " It is not the pair in the header above."
            pruned = workspace.findings.pruned_name
            st.caption(
                "Figures are of the embedded pair, and computed here unless marked otherwise: a Llama of "
                f"{size.parameters / 1e6:.1f} M parameters that writes children’s stories, {shape.n_layers} layers of "
                f"{shape.n_heads} heads, and the same pruned ({pruned}).{other}"
            )


def step(number: int, title: str) -> tuple[DeltaGenerator, DeltaGenerator]:
    """The heading, and places for words and figure."""
    st.divider()
    st.markdown(f"#### {number}. {title}")
    left, right = st.columns([5, 7], gap="large")
    return left, right


# --- 1 ----------------------------------------------------------------------------------------------------------


@st.fragment
def pruning(workspace: Workspace) -> None:
    """Slide the sparsity, see the map."""
    left, right = step(1, "Pruning changes what heads compute")
    with left:
        st.markdown(
            "A head mixes values of earlier tokens into its **activation** $z$; the output projection $W_O$ "
            "then writes it into the residual stream. With weights gone, $z$ comes out different. The map shows by how "
            "much: the mean squared change as a share of the mean squared activation, for every head. 0 is untouched; "
            "1 is as much change as there was activation."
        )
        label = st.select_slider(
            "Share of weights that Wanda sets to zero",
            lessons.SPARSITIES,
            "60 %",
            key="learn-sparsity",
            persist_state="session",
            help="2:4 also removes half of the weights, but exactly two of every four neighbours, as GPUs want it. A "
            "sparsity not seen before is pruned now, from fewer calibration windows than the embedded pair's.",
        )
    with right:
        found = _damage(workspace, label)
    if found is None:
        return
    with left:
        st.markdown(
            f"Perplexity goes from **{found.dense.value:.2f}** ± {found.dense.stderr:.2f} (dense) to "
            f"**{found.pruned.value:.2f}** ± {found.pruned.stderr:.2f}: {signed(found.lost.nats)} ± "
            f"{found.lost.stderr:.4f} nats per token, paired"
            + (", which is within noise." if abs(found.lost.z) < 2 else ".")
        )
        st.caption(
            f"{found.sparsity:.1%} of decoder weights zero; perplexity of {found.dense.tokens:,} tokens of evaluation "
            "text."
        )
    with right, st.container(width=MAP):
        word = METRIC_WORDS["relative_error"]
        table = found.relative_error
        worst = divmod(int(table.argmax()), table.shape[1])
        controls.figure(
            learn_charts.damage_map(table, word, colours(state.dark())),
            "learn-damage",
            f"Relative error by layer and head at {label}. It reaches {float(table.max()):.2f}, at {head_name(worst)}.",
            controls.by_head(table, "relative_error"),
        )


def _damage(workspace: Workspace, label: str) -> lessons.Damage | None:
    """Of one sparsity; None while it is being pruned."""
    if lessons.recipe_at(label) == workspace.recipe:
        return lessons.damage(workspace)
    owner = state.session().owner
    known = jobs.find(("learn-prune", lessons.recipe_at(label)))
    # After a cancel or a failure nothing starts by itself.
    job = known if known is not None else lessons.pruning_job(label, owner)
    if job.state == State.DONE:
        result: lessons.Damage = job.result
        return result
    feedback.progress(job)
    if job.finished:
        st.button("Prune it", key="learn-prune-again", on_click=_prune, args=(label, owner))
    return None


def _prune(label: str, owner: str) -> None:
    lessons.pruning_job(label, owner)


# --- 2 ----------------------------------------------------------------------------------------------------------


def lost_activation(workspace: Workspace) -> Head:
    """δz of one head as arrows; gives the head that this step and the next two are about."""
    left, right = step(2, "The difference is the lost activation")
    layers, heads, _ = workspace.lost.shape
    with left:
        st.markdown(
            "Run the same text through both models and subtract, token by token: "
            r"$\delta z = z_{\text{dense}} - z_{\text{pruned}}$ "
            "(Eq. 2). Each line is one token: it leads from where the pruned model is to where the dense one was. The "
            "thick arrow is their mean. If all lines were equal, one constant would undo the damage. They are not; but "
            "they need not cancel out either."
        )
        shares = lessons.constant_share(workspace)
        chosen: Head = st.selectbox(
            "Head of this step and the next two",
            [(layer, head) for layer in range(layers) for head in range(heads)],
            int(shares.argmax()),
            format_func=head_name,
            key="learn-head",
            persist_state="session",
            help="At first the head whose mean is easiest to see. It is not typical: step 4 shows all heads.",
        )
        st.markdown(
            f"{head_name(chosen)} lost **{float(workspace.loss.relative_error[chosen]):.0%}** of its energy. The mean "
            f"arrow holds **{float(shares[chosen]):.0%}** of that loss; in half of the heads it holds less "
            f"than {float(shares.quantile(0.5)):.0%}."
        )
    points = lessons.plane(workspace, chosen)
    with right, st.container(width=MAP + 60):
        controls.figure(
            learn_charts.arrows(points, colours(state.dark())),
            "learn-arrows",
            f"Activations of {head_name(chosen)} in the dense and the pruned model on 60 tokens, joined by lines, and "
            "the mean of the differences as an arrow.",
            pd.DataFrame(
                {
                    "dense_1": points.dense[:, 0],
                    "dense_2": points.dense[:, 1],
                    "pruned_1": points.pruned[:, 0],
                    "pruned_2": points.pruned[:, 1],
                }
            ),
        )
        st.caption(
            f"In the plane of the head’s first two components (step 3), which hold {points.held:.0%} of what it lost; "
            "activation units. The view leaves out the farthest tokens; double-click it for all."
        )
    return chosen


# --- 3 ----------------------------------------------------------------------------------------------------------


@st.fragment
def components(workspace: Workspace, head: Head) -> None:
    """Energy of the components of one head; how much the first k hold together."""
    left, right = step(3, "The loss has directions")
    shares = workspace.lost.energy[head]
    with left:
        st.markdown(
            r"Stack $\delta z$ of many tokens into a matrix and take its singular value decomposition (Eq. 3). Its "
            r"right singular vectors $v_1, v_2, \dots$ are the **components**: at right angles, strongest first. It is "
            "not centred, as principal components would be, since a shift of the mean is loss too."
        )
        count = st.slider(
            "Components 1 to …", 1, len(shares), min(4, len(shares)), key="learn-components", persist_state="session"
        )
        held = shares.cumsum(0)
        needed = int((held < 0.9).sum()) + 1
        st.markdown(
            f"Components 1 to {count} of {head_name(head)} hold **{float(held[count - 1]):.0%}** of what it lost. 90% "
            f"takes {needed} of {len(shares)}; in a loss without directions every one would hold "
            f"{1 / len(shares):.0%}."
        )
        st.caption("This is what could come back if each token got its own amount of every component.")
        st.page_link(PAGES["components"].link, label="Components of the open pair", icon=":material/arrow_forward:")
    with right:
        controls.figure(
            learn_charts.energy(shares, count, colours(state.dark())),
            "learn-energy",
            f"Energy of the components of {head_name(head)}: the first {count} hold {float(held[count - 1]):.0%}.",
            pd.DataFrame(
                {"component": range(1, len(shares) + 1), "energy": shares.numpy(), "cumulative": held.numpy()}
            ),
        )


# --- to look up -------------------------------------------------------------------------------------------------


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
    """Papers."""
    st.divider()
    st.markdown("#### Sources")
    st.markdown(
        "\n".join(
            f"- {what}{f', [arXiv {number}](https://arxiv.org/abs/{number})' if number else ''}: {why}."
            for what, number, why in SOURCES
        )
    )
