"""What every page shows at its top: the pair, three perplexities on one scale, the recovered share, the picks."""

from __future__ import annotations

import math
import time
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from restorelcc.artifacts.findings import Findings, recipe_written
from restorelcc.artifacts.runs import Run, runs_folder
from restorelcc.errors import RestoreLCCError
from restorelcc.evaluation.perplexity import Difference
from restorelcc.workspace import Workspace

from ..session import cache, state
from ..values.picks import Picks
from ..values.verbatim import in_html, shortened
from ..values.words import HELP, model_name, percent, short_name, signed, text_name
from ..widgets import feedback
from ..work import open_pairs, scores
from ..work.jobs import jobs
from ..work.live import Measured, Superseded, lane, unpicked

PREDICTED = (
    "Predicted at once from slopes and curvature of the loss on the calibration text, near the pruned model. The text "
    "that is measured is another, and far from the pruned model a quadratic is no longer right."
)
HEAD_START = 0.02
"""Seconds for which what is predicted is sent and drawn before the measurement and the page take the processor."""
LOOK = 1.0  # seconds after which who waits for a measurement is told how many come before


class Header:
    """Drawn in two steps: `__init__` before the page, what is known or predicted first of all, so that measuring and
    drawing go on at once; `finish` after."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace, self._picks = workspace, state.picks()
        known = lane.known(workspace, self._picks)
        self._foretold = scores.foretold(workspace, self._picks)
        self._asked: Future[Measured] | None = None
        self._run: Run | None = None
        run = _run_in_view(workspace)
        with st.container(key="header", horizontal=True, vertical_alignment="center", gap="small"):
            self._place: DeltaGenerator = st.empty()
            if run is None:
                self._draw(known)
            with st.container(key="header-controls", gap=None, width="content"):
                self._run = _shown(run)
                _buttons(workspace, self._picks)
        if run is not None:
            self._draw(None if self._run is not None else known)
        if known is None and self._foretold is not None:
            time.sleep(HEAD_START)
        if known is not None or workspace.loaded:
            self._asked = self._ask()
        else:
            self._loading: DeltaGenerator = st.empty()
            open_pairs.awaited_load(workspace, state.session().owner)  # goes on while the page is drawn

    def _ask(self) -> Future[Measured]:
        return lane.ask(self._workspace, self._picks, state.session().tab)

    def finish(self) -> None:
        """Wait for the measurement and draw it; where the models are still to be loaded, how far that is."""
        workspace = self._workspace
        if self._asked is None:
            with self._loading.container():
                if not feedback.models_there(workspace, "header", dense=False):
                    return
            self._asked = self._ask()
        try:
            if self._run is not None:
                self._draw(cache.live_of_run(workspace.recipe, self._run.folder.name, workspace, self._run))
                return
            measured = self._answer(self._asked)
        except Superseded:  # This rerun is stale: another one is under way.
            return
        except RestoreLCCError as error:
            feedback.refused(error, self._place)
            return
        self._draw(measured)

    def _answer(self, asked: Future[Measured]) -> Measured:
        """What was asked for; where others are measured first, how many, until it is there. Raises what the engine
        does."""
        while True:
            try:
                return asked.result(LOOK)
            except TimeoutError:
                self._draw(None, lane.ahead(self._workspace, self._picks))

    def _draw(self, measured: Measured | None, ahead: int = 0) -> None:
        workspace, picked = self._workspace, len(self._picks)
        if self._run is not None:
            self._place.html(_html(workspace, picked, measured, None, ahead, None, self._run.name))
            return
        full = lane.known(workspace, self._picks, full=True)
        self._place.html(_html(workspace, picked, measured, full, ahead, self._foretold))


def _run_in_view(workspace: Workspace) -> Run | None:
    """The restored run that the link names, where it is kept and of the pair in view."""
    name = state.session().run
    if not name or Path(name).name != name or jobs.get(name) is not None:
        return None
    with suppress(RestoreLCCError):
        run = cache.kept_run(runs_folder() / name)
        return run if run.config.get("recipe", {}) == recipe_written(workspace.recipe) else None
    return None


def _shown(run: Run | None) -> Run | None:
    """The run, where the figures of the header are to be of it and not of the picks: asked where there is one."""
    if run is None:
        return None
    kind = st.segmented_control(
        "The header's figures are of",
        ["picks", "run"],
        format_func=lambda kind: "My picks" if kind == "picks" else "Restored run",
        default="picks",
        required=True,
        key="header-shows",
        label_visibility="collapsed",
        persist_state="session",
        help="Figures of my picks, untrained, or of the restoration in view, trained: both on the live set.",
    )
    return run if kind == "run" else None


def _buttons(workspace: Workspace, picks: Picks) -> None:
    session = state.session()
    with st.container(key="header-buttons", horizontal=True, gap="xsmall", width="content", wrap=False):
        st.button(
            "Undo", key="undo", icon=":material/undo:", on_click=state.undo, disabled=not session.past, type="tertiary"
        )
        st.button(
            "Redo",
            key="redo",
            icon=":material/redo:",
            on_click=state.redo,
            disabled=not session.future,
            type="tertiary",
        )
        st.button(
            "Clear",
            key="clear",
            icon=":material/close:",
            on_click=lambda: state.choose(Picks.none(workspace.lost.shape)),
            disabled=len(picks) == 0,
            type="tertiary",
        )
        tokens = workspace.findings.evaluation.count
        st.button(
            "Full set",
            key="measure-full",
            icon=":material/straighten:",
            on_click=_measure_fully,
            args=(workspace, picks),
            disabled=lane.known(workspace, picks, full=True) is not None,
            type="tertiary",
            help=f"Measure these picks on the whole evaluation text: {tokens:,} tokens instead of "
            f"{workspace.findings.live.count:,}.",
        )


def _measure_fully(workspace: Workspace, picks: Picks) -> None:
    device = workspace.recipe.loading.resolved_device()
    job = jobs.submit(
        "Measuring the picks on the full set",
        state.session().owner,
        device,
        lambda job: lane.measure_fully(workspace, picks),
        key=("full", workspace.recipe, picks),
    )
    st.session_state["full-job"] = job.id


def _html(
    workspace: Workspace,
    picked: int,
    measured: Measured | None,
    full: Measured | None,
    ahead: int = 0,
    foretold: Difference | None = None,
    run: str = "",
) -> str:
    """The header's inside: by the full set where that was measured, else by the live set, once it is. ahead: how many
    measurements come before; foretold: the change that is predicted, which is shown until then, and beside it after;
    run: name of the restored run that the figures are of, empty: of the picks."""
    label = f"Restored: {in_html(shortened(run, 24))}" if run else "With my picks"
    shown, names = full or measured, _names(workspace.findings, picked)
    text = workspace.findings.evaluation if full else workspace.findings.live
    source = in_html(text_name(workspace.recipe.evaluation))
    count = f"{text.count:,} tokens of {source}, {'full' if full else 'live'} set"
    if shown is None:
        known = unpicked(workspace)
        waits = f"after {ahead} others" if ahead > 1 else "after another" if ahead else "measuring"
        numbers = _number("dense", "Dense", known.dense.value, known.dense.stderr)
        numbers += _awaited(known, foretold, label)
        numbers += _number("pruned", "Pruned", known.pruned.value, known.pruned.stderr)
        if foretold is None:
            return _framed(names, numbers, _bar(math.nan, waits), waits, count)
        share = -foretold.nats / known.lost.nats if known.lost.nats > 0 else math.nan
        recovered = waits if math.isnan(share) else f"≈ {percent(share)} · {waits}"
        return _framed(names, numbers, _bar(share, recovered), f"{_in_nats(foretold)} predicted", count)
    numbers = (
        _number("dense", "Dense", shown.dense.value, shown.dense.stderr)
        + _number("picked", label, shown.picked.value, shown.picked.stderr)
        + _number("pruned", "Pruned", shown.pruned.value, shown.pruned.stderr)
    )
    verdict = "nothing picked" if picked == 0 and not run else f"{_in_nats(shown.gain)}{_judged(shown)}"
    share = shown.share
    recovered = "pruning lost nothing here"
    if not math.isnan(share):
        recovered = f"{percent(share)} ± {percent(shown.share_error)}"
    near = ""
    if shown.nearer.known:
        near = f"{percent(shown.nearer.value)} ± {percent(shown.nearer.stderr)}"
    return _framed(names, numbers, _bar(share, recovered, near), verdict, count, _missed(shown, foretold))


def _names(findings: Findings, picked: int) -> str:
    """What is compared, what pruning took, and how much is picked."""
    removed = 1 - findings.pruned_size.parameters / findings.dense_size.parameters
    less = f"{removed:.1%} of parameters gone" if removed else f"{findings.sparsity.sparsity:.1%} of weights zero"
    dense, pruned = (
        f'<span title="{in_html(model_name(name))}"><b>{in_html(short_name(name))}</b></span>'
        for name in (findings.dense_name, findings.pruned_name)
    )
    return (
        f'<div class="names">{dense} <span class="muted">pruned:</span> {pruned}'
        f'<div class="muted">{less} · {picked} picked</div></div>'
    )


def _judged(shown: Measured) -> str:
    """What to make of the picks' effect, beside its figure."""
    if abs(shown.gain.z) < 2:
        return " · within noise"
    return " · worse than pruned" if shown.gain.nats > 0 else ""


def _in_nats(change: Difference) -> str:
    return f"{signed(change.nats)} ± {change.stderr:.4f} nats"


def _awaited(known: Measured, foretold: Difference | None, label: str) -> str:
    """The picks' place among the numbers while they are measured. known: with nothing picked."""
    if foretold is None:
        return f'<div class="number picked working"><span>{label}</span><b>measuring…</b></div>'
    value = known.pruned.value * math.exp(min(foretold.nats, 50.0))
    return (
        f'<div class="number picked working" title="{PREDICTED}"><span>{label}</span>'
        f'<b data-predicted="{value!r}">≈ {value:.2f}</b><small>predicted</small></div>'
    )


def _missed(shown: Measured, foretold: Difference | None) -> str:
    """What was predicted, beside what is measured, and how far off it was."""
    if foretold is None:
        return ""
    off = signed(foretold.nats - shown.gain.nats)
    return (
        f'<div class="muted foretold" title="{PREDICTED}" data-predicted="{foretold.nats!r}">'
        f"predicted {signed(foretold.nats)}, off by {off}</div>"
    )


def _number(kind: str, label: str, value: float, error: float) -> str:
    return (
        f'<div class="number {kind}" title="{HELP["perplexity"]}"><span>{label}</span>'
        f'<b data-value="{value!r}">{value:.2f}</b><small>± {error:.2f}</small></div>'
    )


def _bar(share: float, label: str, near: str = "") -> str:
    """From pruned (0) on the left to dense (1) on the right; to the left of pruned where it got worse. near: how much
    of the distance to the dense model is gone, in words; empty where that is not known."""
    beside = f'<div class="label" title="{HELP["nearer"]}"><span>Nearer</span><b>{near}</b></div>' if near else ""
    low, high = -0.5, 1.0
    position = 0.0 if math.isnan(share) else min(high, max(low, share))

    def at(value: float) -> float:
        return 100 * (value - low) / (high - low)

    left, right = sorted((at(0), at(position)))
    kind = "worse" if position < 0 else "better"
    return (
        f'<div class="share" title="{HELP["share"]}" role="img" aria-label="Recovered share: {label}">'
        f'<div class="label"><span>Recovered</span><b>{label}</b></div>'
        f'<div class="track"><i class="{kind}" style="left:{left:.2f}%;width:{right - left:.2f}%"></i>'
        f'<i class="mark pruned" style="left:{at(0):.2f}%"></i><i class="mark dense" style="left:100%"></i></div>'
        f"{beside}</div>"
    )


def _framed(names: str, numbers: str, bar: str, verdict: str, count: str, missed: str = "") -> str:
    return (
        f'<div class="studio-header">{names}<div class="numbers" aria-live="polite">{numbers}</div>{bar}'
        f'<div class="verdict" title="{HELP["gain"]}"><b>{verdict}</b><div class="muted">{count}</div>{missed}</div>'
        "</div>"
    )
