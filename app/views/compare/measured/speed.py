"""What the dense, the pruned and the restored model cost to run: tokens a second and memory, timed in turn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from restorelcc.artifacts.runs import Run
from restorelcc.workspace import Workspace

from ....session import state
from ....values.verbatim import in_markdown, visible
from ....values.words import count
from ....widgets import feedback
from ....work.jobs import Job, State, jobs
from ....work.measured import speed

HELP = (
    "All models on the same tokens, one after the other in every round, in one process: medians over rounds, with the "
    "middle half of them in brackets. What is put back is folded in, as an exported checkpoint has it. Zeros save "
    "neither time nor memory but in kernels made for them."
)


def section(run: Run, workspace: Workspace | None) -> None:
    """The figures, and the button that measures them. workspace: the run's pair, where it can be tried."""
    known, job = speed.known_of(run), None
    if workspace is None and not known:
        return
    st.markdown("##### Cost at inference", help=HELP)
    if workspace is not None:
        job = jobs.find(speed.key(workspace, run))
        known = (job.result if job is not None and job.result else None) or known
    if known:
        _table(known)
    if workspace is not None:
        _button(workspace, run, job, "Time them again" if known else "Time all three models")


def _button(workspace: Workspace, run: Run, job: Job | None, label: str) -> None:
    if job is not None and (not job.finished or job.state == State.FAILED):
        feedback.progress(job, "speed")
    st.button(
        label,
        key="time-models",
        icon=":material/speed:",
        disabled=job is not None and not job.finished,
        on_click=_submit,
        args=(workspace, run),
        help=f"{speed.LOAD.prompt} tokens read at once and {speed.LOAD.new} written, {speed.LOAD.rounds} times each.",
    )


def _submit(workspace: Workspace, run: Run) -> None:
    with feedback.guarded():
        speed.submit(workspace, run, state.session().owner)


def _table(known: Mapping[str, Any]) -> None:
    rows = [
        {
            "model": visible(name),
            "prefill, tokens/s": _rate(of["prefill"]),
            "decoding, tokens/s": _rate(of["decode"]),
            "weights": f"{count(of['weights_bytes'])}B",
            "beside them": f"{count(of['beside_bytes'])}B" if isinstance(of.get("beside_bytes"), int) else "–",
        }
        for name, of in known["models"].items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="speed-table", alt="Tokens a second and memory, by model.")
    ratio = known["models"].get("restored", {}).get("against_pruned")
    said = "" if not ratio else f" Restored runs at {_ratio(ratio, 'prefill')} of pruned's prefill and "
    said += "" if not ratio else f"{_ratio(ratio, 'decode')} of its decoding, paired by round."
    st.caption(
        f"{known['prompt']} tokens read, {known['new']} written, {known['rounds']} rounds; "
        f"{in_markdown(known['machine'])}.{said}"
    )


def _rate(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:,.0f} ({spread['low']:,.0f}–{spread['high']:,.0f})"


def _ratio(ratio: Mapping[str, Mapping[str, float]], part: str) -> str:
    spread = ratio[part]
    return f"{spread['median']:.2f} ({spread['low']:.2f}–{spread['high']:.2f})"
