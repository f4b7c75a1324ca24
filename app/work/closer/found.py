"""What closer looks compute with something put back, as jobs; kept for all who ask, as scores are."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pandas as pd

from restorelcc.compensation.interface import Compensation, compensated
from restorelcc.evaluation.comparison import Within
from restorelcc.inspection.after import After, still_lost
from restorelcc.inspection.depth import Departure, departure
from restorelcc.inspection.windows import windows
from restorelcc.models.pair import ModelPair
from restorelcc.progress import Progress
from restorelcc.workspace import Workspace

from .. import scores
from ..jobs import jobs

Work = Generator[Progress, None, Any]


@dataclass(frozen=True)
class InPlace:
    """What is put back while it is looked."""

    name: str
    """Tells it from all others: part of the key under which what is found is kept."""
    title: str
    """In words, as Markdown has them."""
    back: Callable[[ModelPair], Compensation] = field(compare=False)
    """Raises LoadError where it is of another model."""


def key(workspace: Workspace, what: str) -> tuple[object, ...]:
    """Under which the job is found that computes this."""
    return ("closer", workspace.recipe, what)


def submit(workspace: Workspace, what: str, owner: str, title: str, work: Callable[[], Work]) -> None:
    """Queue a job whose result is then `scores.known` as `what`; one for all who ask."""

    def kept() -> Work:
        scores.keep(workspace.recipe, what, (yield from work()))

    device = workspace.recipe.loading.resolved_device()
    jobs.submit(title, owner, device, lambda _: kept(), key=key(workspace, what))


def depth_work(workspace: Workspace, in_place: InPlace | None) -> Generator[Progress, None, list[Departure]]:
    """By layer, of the pruned model on the live set; and with something in place."""
    pair = yield from workspace.loading()
    states: list[Within] = [nullcontext]
    if in_place is not None:
        states.append(partial(compensated, pair.pruned, in_place.back(pair)))
    return (yield from departure(pair, workspace.findings.live, states))


def windows_work(
    workspace: Workspace, source: str, in_place: InPlace | None
) -> Generator[Progress, None, pd.DataFrame]:
    """The windows of a source of passages."""
    pair = yield from workspace.loading()
    findings = workspace.findings
    tokens = findings.evaluation if source == "evaluation" else findings.calibration
    within = None if in_place is None else partial(compensated, pair.pruned, in_place.back(pair))
    return (yield from windows(pair, tokens, within))


def after_work(workspace: Workspace, in_place: InPlace) -> Generator[Progress, None, After]:
    """What is still lost of every head, on the text that it was read on before."""
    pair = yield from workspace.loading()
    tokens = workspace.findings.calibration[: workspace.recipe.captured]
    return (yield from still_lost(pair, tokens, workspace.lost, in_place.back(pair)))
