"""A restoration of a pair that is open: the texts that it is trained on, what its run says of it, and how it is judged.
The app makes runs so, and the command line makes them again."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

from .artifacts.export import made_for
from .artifacts.findings import recipe_written
from .compensation.interface import compensated
from .evaluation.comparison import Comparison, measured
from .hf.narrow import pruning_record
from .models.loading import Loading
from .models.pair import ModelPair
from .progress import Progress
from .restoration.training import Restoration
from .text.calibration import ELSEWHERE_WINDOWS, judged_on, sampled_windows, split_held_out
from .text.overlap import sketch
from .text.sources import SELF
from .text.tokens import Tokens
from .workspace import Workspace, second_text


@dataclass(frozen=True)
class Judged:
    """What a restoration came to."""

    there: Comparison
    """On text of the kind that it was trained on: held-out windows of it, or an evaluation text."""
    elsewhere: Comparison | None
    """On a text that nothing was trained or chosen on; None where there is none."""
    source: str
    """Of that text."""
    notes: tuple[str, ...] = ()
    """How it was read, and what of it was left out."""
    judged_on: dict[str, Any] | None = None
    """How a command reads the same of it (see `text.calibration.judged_on`)."""

    def figures(self) -> dict[str, Any]:
        """As they are kept with a run, and told to programs."""
        figures = self.there.figures()
        if self.elsewhere is None:
            return figures
        said = {"text": self.source, "notes": list(self.notes), "judged_on": self.judged_on}
        return figures | {"elsewhere": said | self.elsewhere.figures()}


def texts(workspace: Workspace, sampled: int, seed: int) -> Generator[Progress, None, tuple[Tokens, Tokens]]:
    """(to train on, held out): of the calibration text, or of `sampled` windows that the dense model writes."""
    if not sampled:
        return workspace.training, workspace.held_out
    pair, length = (yield from workspace.loading()), workspace.findings.calibration.ids.shape[1]
    return split_held_out((yield from sampled_windows(pair.dense, pair.tokenizer, length, sampled, seed)))


def about_run(workspace: Workspace, pair: ModelPair, text: Tokens, held_out: Tokens, sampled: int) -> dict[str, Any]:
    """What a run says that is known before the training."""
    findings, recipe = workspace.findings, workspace.recipe
    calibration = {
        "source": SELF if sampled else recipe.calibration,
        "windows": len(text),
        "length": text.ids.shape[1],
    }
    return {
        "dense": findings.dense_name,
        "pruned": findings.pruned_name,
        "pruning": pruning_record(pair.pruned),
        **made_for(pair.pruned),
        "recipe": recipe_written(recipe),
        "notes": [*pair.remarks(), *findings.notes],
        "evaluation": f"the evaluation text, {recipe.evaluation}",
        "judged_on": _protocol(pair, findings.evaluation, recipe.evaluation, recipe.evaluated, recipe.loading),
        "calibration": calibration | ({"sampled": sampled} if sampled else {}),
        "sketch": sketch([text, held_out]),
        "parameters": findings.dense_size.parameters,
    }


def judged(workspace: Workspace, restoration: Restoration) -> Generator[Progress, None, Judged]:
    """On the whole evaluation text, and on the second one where the recipe names one."""
    pair, recipe = (yield from workspace.loading()), workspace.recipe
    there, second = workspace.findings.evaluation, second_text(workspace, pair)
    return (yield from judged_by(pair, restoration, there, second, recipe.elsewhere, recipe.loading))


def judged_by(
    pair: ModelPair,
    restoration: Restoration,
    there: Tokens,
    elsewhere: Tokens | None,
    source: str,
    loading: Loading,
) -> Generator[Progress, None, Judged]:
    """Dense, pruned and restored on one text, and on a second one where there is one. source: of the second."""
    within = partial(compensated, pair.pruned, restoration.compensation)
    first = yield from measured(pair.dense, pair.pruned, there, within)
    if elsewhere is None:
        return Judged(first, None, source)
    second = yield from measured(pair.dense, pair.pruned, elsewhere, within)
    return Judged(
        first, second, source, elsewhere.notes, _protocol(pair, elsewhere, source, ELSEWHERE_WINDOWS, loading)
    )


def _protocol(pair: ModelPair, tokens: Tokens, source: str, most: int, loading: Loading) -> dict[str, Any] | None:
    """What a command that evaluates is told to read the same tokens, in the same precision."""
    read = judged_on(tokens, source, pair.pruned, pair.tokenizer, most)
    return read if read is None or loading.dtype == Loading().dtype else read | {"dtype": loading.dtype}
