"""Parts of the Heads page: the map, the ranking, and the panel of one head."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st
import torch
from torch import Tensor

from restorelcc.selection.picks import of_heads
from restorelcc.workspace import Workspace

from ...charts import common as charts
from ...session import cache, state
from ...values.colours import colours
from ...values.pages import PAGES
from ...values.words import ALL_WORDS, METRIC_WORDS, SCORE_WORDS, head_name, signed
from ...widgets import controls, feedback, tinted
from ...work import scores
from ...work.jobs import State, jobs

Head = tuple[int, int]
ARRIVALS = 3.0  # seconds between looks at measurements that come one by one
PASSAGE = 64  # tokens, at most
MOUSE = {"look": "Click looks", "box": "Box picks"}
DOES = {
    "look": "Click a cell to look at its head.",
    "box": "Drag a box to add all components of the heads in it to the picks.",
}


def score(workspace: Workspace, metric: str) -> bool:
    """Whether the measure in view is there; if not, what it is, what it takes, and the button that computes it.

    While it is being computed, its progress; measurements that come one by one are there from the first.
    """
    if metric in METRIC_WORDS:
        return True
    word, there = SCORE_WORDS[metric], scores.table(workspace, metric) is not None
    job = jobs.find(scores.key(workspace, metric))
    if job is not None and (not job.finished or job.state in (State.FAILED, State.CANCELLED)):
        feedback.progress(job)
    if job is not None and not job.finished:
        st.fragment(_arrivals, run_every=ARRIVALS)(workspace, metric, scores.missing(workspace, metric))
    missing = scores.missing(workspace, metric)
    if not there:
        with st.container(border=True, key="score-missing"):
            st.markdown(f"##### {word.label}")
            st.markdown(word.help)
            if job is None or job.finished:
                st.caption(f"Not computed for this pair yet. It takes {word.cost}.")
                _compute(workspace, metric, "Compute")
    elif missing and (job is None or job.finished):
        _compute(workspace, metric, f"Measure the other {missing} heads")
    return there


def _arrivals(workspace: Workspace, metric: str, missing: int) -> None:
    """Draw anew when more heads have been measured."""
    if scores.missing(workspace, metric) != missing:
        st.rerun()


def _compute(workspace: Workspace, metric: str, label: str) -> None:
    st.button(
        label,
        key="compute-score",
        type="primary",
        icon=":material/calculate:",
        on_click=scores.submit,
        args=(workspace, metric, state.session().owner, SCORE_WORDS[metric].label),
    )


def loss_map(workspace: Workspace, metric: str) -> None:
    """Layer × head; a click looks at a head, a box picks heads."""
    here, word, table = state.session(), ALL_WORDS[metric], _table(workspace, metric)
    picked = state.picks().by_head()
    with st.container(horizontal=True, vertical_alignment="center", key="map-title"):
        st.markdown(f"##### {word.label} of every head", help=word.help, width="stretch")
        st.segmented_control(
            "The mouse",
            list(MOUSE),
            format_func=lambda name: MOUSE[name],
            required=True,
            label_visibility="collapsed",
            **controls.mirrored("mouse", here.mouse, lambda value: setattr(here, "mouse", value)),
        )
    chart = charts.head_map(table, word, colours(state.dark()), picked, here.head, box=here.mouse == "box")
    first = charts.ranked(table, word)[0]
    controls.figure(
        chart,
        "head-map",
        f"Map of {word.label.lower()} by layer and head; {'the lowest' if word.lowest_first else 'the most'} is "
        f"{float(table[first]):.3g}, at {head_name(first)}.",
        _frame(workspace, metric),
        on_select=lambda: _map_selected(workspace),
    )
    st.caption(f"{DOES[here.mouse]} A green dot marks heads with picks.")


def _table(workspace: Workspace, metric: str) -> Tensor:
    table = scores.table(workspace, metric)
    if table is None:
        raise LookupError(f"{metric} is drawn before it is computed")
    return table


def _frame(workspace: Workspace, metric: str) -> pd.DataFrame:
    """All measures of loss, and the score in view with its errors."""
    frame = workspace.loss.to_pandas()
    if metric in METRIC_WORDS:
        return frame
    errors = scores.errors(workspace, metric)
    columns = {metric: _table(workspace, metric)} | ({} if errors is None else {f"{metric}_error": errors})
    return frame.assign(**{name: values.flatten().numpy() for name, values in columns.items()})


def _map_selected(workspace: Workspace) -> None:
    heads = [(point[0], point[1]) for point in controls.selected_points("head-map")]
    if len(heads) == 1:
        look_at(heads[0])
    elif heads:
        pick(workspace, heads)


def look_at(head: Head) -> None:
    """Open the panel of one head."""
    here = state.session()
    if here.head != head:
        here.head, here.component = head, 0


def pick(workspace: Workspace, heads: list[Head]) -> None:
    """All components of these heads, on top of what is picked."""
    picks = state.picks()
    state.choose(picks.of(picks.selection.added(of_heads(workspace.lost.shape, heads).picks)))


def ranks(workspace: Workspace, metric: str) -> None:
    """The heads to look at first by the measure in view, and the profile by layer."""
    here, word, table = state.session(), ALL_WORDS[metric], _table(workspace, metric)
    look, errors = colours(state.dark()), scores.errors(workspace, metric)
    frame = _frame(workspace, metric)
    columns = ["layer", "head", metric, *([f"{metric}_error"] if f"{metric}_error" in frame else [])]
    st.markdown(f"##### {word.ranked}")
    controls.figure(
        charts.ranking(table, word, look, here.head, errors),
        "head-ranking",
        f"Bars of the heads that come first by {word.label.lower()}, in order.",
        frame[columns].sort_values(metric, ascending=word.lowest_first),
        on_select=_bar_selected,
        modes=("points",),
    )
    st.markdown("##### By layer: mean, and range over heads")
    controls.figure(
        charts.profile(table, word, look),
        "layer-profile",
        f"Mean {word.label.lower()} of the heads of each layer, with the range from the lowest to the highest.",
        frame.groupby("layer")[metric].agg(["mean", "min", "max"]).reset_index(),
    )


def _bar_selected() -> None:
    points = controls.selected_points("head-ranking")
    if points:
        look_at((points[0][0], points[0][1]))


def none_in_view(workspace: Workspace, metric: str) -> None:
    """What to do for a panel, where there is a map to click on."""
    if scores.table(workspace, metric) is not None:
        st.info(
            "Click a cell of the map, or a bar of the ranking, to see what that head lost.", icon=":material/ads_click:"
        )


def title(workspace: Workspace, head: Head) -> None:
    """Name, figures, and what can be done with the head."""
    losses = {name: float(workspace.loss.table(name)[head]) for name in METRIC_WORDS}
    picked = len(state.picks().components_of(*head))
    total = workspace.lost.shape[2]
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="head-title"):
        st.markdown(f"#### Layer {head[0]}, head {head[1]}", width="content")
        figures = " · ".join(f"{METRIC_WORDS[name].label.lower()} {value:.3f}" for name, value in losses.items())
        figures += _scored(workspace, head)
        st.markdown(f"<span class='muted'>{figures}</span>", unsafe_allow_html=True, width="stretch")
        gone = not bool(workspace.lost.present[head])
        st.button(
            f"Add to picks ({picked} of {total} components in)" if picked else "Add to picks",
            key="add-head",
            icon=":material/add:",
            type="primary",
            disabled=picked == total or gone,
            on_click=pick,
            args=(workspace, [head]),
        )
        st.button(
            "Remove",
            key="remove-head",
            icon=":material/remove:",
            disabled=picked == 0,
            on_click=lambda: state.choose(state.picks().of_head(*head, [])),
        )
        st.page_link(PAGES["components"].link, label="Its components", icon=":material/arrow_forward:")
    if gone:
        st.info("Pruning removed this head: it is lost whole, and nothing can be put back into it.")


def _scored(workspace: Workspace, head: Head) -> str:
    """The changes of the loss that are known of a head, each with its error."""
    parts = []
    for name, word in SCORE_WORDS.items():
        table, errors = scores.table(workspace, name), scores.errors(workspace, name)
        if word.scale == "change" and table is not None and errors is not None and bool(table[head].isfinite()):
            parts.append(f" · {word.label.lower()} {signed(float(table[head]))} ± {float(errors[head]):.4f}")
    return "".join(parts)


def spread(workspace: Workspace, head: Head) -> None:
    """How the loss is spread over tokens."""
    samples = workspace.findings.statistics.samples
    lost = samples.lost[head].double().square().sum(-1)
    mean = float(workspace.findings.statistics.dense_energy[head])
    share = lost / mean if mean > 0 else lost
    st.markdown(
        f"##### Lost energy over {len(share)} sampled tokens",
        help="‖z_dense − z_pruned‖² of each token as a share of the head's mean ‖z_dense‖². A few tokens often carry "
        "most of the loss; a constant can only bring back what they have in common.",
    )
    top = float(share.sort(descending=True).values[: max(1, len(share) // 10)].sum() / share.sum().clamp(min=1e-12))
    controls.figure(
        charts.histogram(share, colours(state.dark()), "lost energy, share of the head's mean energy"),
        "head-spread",
        f"Histogram of lost energy over tokens. The tenth of tokens with most loss carries {top:.0%} of it.",
        pd.DataFrame({"text": samples.text, "position": samples.pos, "lost_energy_share": share}),
    )
    st.caption(f"The tenth of tokens that lost most carries {top:.0%} of the loss.")


@dataclass(frozen=True)
class Passage:
    """Some tokens of one calibration text."""

    text: int
    start: int
    length: int


def passage(workspace: Workspace) -> Passage:
    """Which passage to read the head on."""
    texts, positions = workspace.findings.calibration.ids.shape
    with st.container(horizontal=True, key="passage"):
        text = st.number_input(
            f"Window of calibration text (0 to {texts - 1})", 0, texts - 1, key="passage-text", persist_state="session"
        )
        start = st.number_input(
            "First token", 0, max(0, positions - 8), step=16, key="passage-start", persist_state="session"
        )
    real = int(workspace.findings.calibration.real[text].sum())
    start = min(int(start), max(0, real - 8))
    return Passage(int(text), start, min(PASSAGE, real - start))


def passage_tinted(workspace: Workspace, head: Head, where: Passage) -> None:
    """The passage, each token tinted by what the head lost there."""
    reading = cache.reading(workspace.recipe, where.text, where.start, where.length, workspace)
    tokens = cache.token_strings(workspace.recipe, where.text, where.start, where.length, workspace)
    share = reading.share[head]
    scale = float(torch.quantile(share, 0.97).clamp(min=1e-9))
    st.markdown(
        "##### The same head on a passage",
        help="The darker a token, the more of this head's activation was lost there. Hover a token for its share.",
    )
    colour = colours(state.dark()).pruned
    says = [f"lost {value:.1%} of the head's mean energy" for value in share.tolist()]
    parts = zip(tokens, says, (share / scale).tolist(), strict=True)
    shown = [tinted.Token(token, said, colour, strength) for token, said, strength in parts]
    tinted.show(shown, data_head=head_name(head))


def attention(workspace: Workspace, head: Head, where: Passage) -> None:
    """Where the head looks: dense, pruned, and the difference."""
    reading = cache.reading(workspace.recipe, where.text, where.start, where.length, workspace)
    tokens = cache.token_strings(workspace.recipe, where.text, where.start, where.length, workspace)
    dense, pruned = reading.dense_attention[head], reading.pruned_attention[head]
    look = colours(state.dark())
    moved = float((dense - pruned).abs().sum(-1).mean() / 2)
    st.markdown(
        "##### Attention pattern on that passage",
        help="Row: the token that looks; column: the token looked at; each row sums to 1. In the difference, blue is "
        "attention that pruning took away and orange is attention it added.",
    )
    st.caption(f"On average a token's attention moved by {moved:.0%} of its mass.")
    views = (
        ("Dense", dense, False, "attention-dense"),
        ("Pruned", pruned, False, "attention-pruned"),
        ("Pruned − dense", pruned - dense, True, "attention-difference"),
    )
    for column, (label, weights, differs, key) in zip(st.columns(3), views, strict=True):
        with column:
            st.markdown(f"**{label}**")
            frame = pd.DataFrame(weights.numpy(), columns=[f"{i}:{token}" for i, token in enumerate(tokens)])
            controls.figure(
                charts.attention(weights, tokens, look, differs),
                key,
                f"Attention of layer {head[0]}, head {head[1]}, {label.lower()}, on {len(tokens)} tokens.",
                frame.assign(query=tokens),
            )
