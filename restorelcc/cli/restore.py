"""The command `restore`: pick, train, keep, and tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from .. import face
from ..artifacts.export import made_for
from ..artifacts.export_formats import FORMATS
from ..artifacts.runs import ADAPTER, Run, runs_folder, save_run
from ..capture.components import components
from ..capture.statistics import capture
from ..compensation.interface import compensated
from ..errors import RestoreLCCError, SettingError
from ..evaluation.perplexity import Perplexity, measure, perplexity, recovered_share
from ..hf.narrow import pruning_record
from ..models.loading import Loading
from ..models.pair import ModelPair
from ..progress_bar import watched
from ..restoration.training import Restoration, Settings, Step, Training
from ..selection.picks import check_share, share_of_heads
from ..selection.scores import ScoreInputs
from ..storage.folders import check_free, check_writable
from ..text.calibration import split_held_out
from ..text.tokens import Tokens
from .console import say, show_json, show_table, shown
from .opening import Text, head_order, open_pair

JUDGED_BY = "held-out windows of the text trained on, which also chose the best step"


@dataclass(frozen=True)
class Picks:
    """Which heads and components to restore."""

    heads: float
    """Share of all heads that the pruned model has."""
    score: str
    components: int | None

    def __post_init__(self) -> None:
        check_share(self.heads)


@dataclass(frozen=True)
class Asked:
    """What is to be restored, how, and where it goes."""

    dense: str
    pruned: str
    loading: Loading
    text: Text
    picks: Picks
    settings: Settings
    epochs: float | None
    """Passes over the text, in place of the settings' steps."""
    folder: Path
    format: str
    """Of `FORMATS`."""
    name: str | None
    """Of the run; None: that of the folder."""


def settings_of(given: dict[str, Any], epochs: float | None) -> Settings:
    """Training settings, at their defaults where None is `given`. Raises SettingError."""
    if epochs is not None and given["steps"] is not None:
        raise SettingError("Give --steps or --epochs, not both: each says how long to train.")
    if epochs is not None and epochs <= 0:
        raise SettingError(f"{epochs} epochs would train nothing. Give more than 0.")
    return Settings(**{name: value for name, value in given.items() if value is not None})


def restore(asked: Asked, as_json: bool) -> None:
    """Train what is put back, keep it as a run, and export it. What cannot be written or merged is refused first."""
    check_free(asked.folder)
    check_writable(runs_folder())
    pair, tokens = open_pair(asked.dense, asked.pruned, asked.text, asked.loading)
    FORMATS[asked.format].check(asked.folder, pair, asked.settings.kind)
    trainer = _picked(asked, pair, tokens)
    stopped = _trained(trainer, quiet=as_json)
    restoration = trainer.result()
    judged = _judged(trainer, restoration)
    run = _kept(asked, trainer, restoration, judged, tokens.notes)
    if as_json:
        told = {"trained_parameters": restoration.trained_parameters, "best_step": restoration.best_step}
        show_json(_figures(judged) | told | {"stopped": stopped, "out": str(asked.folder), "run": str(run.folder)})
    else:
        _tell(restoration, judged, len(trainer.held_out))
        say(f"Best at step {restoration.best_step}. In {asked.folder}; the run is kept in {run.folder}")


def _picked(asked: Asked, pair: ModelPair, tokens: Tokens) -> Training:
    """The training of what is picked, by what the capture or a score says of it."""
    training, held_out = split_held_out(tokens)
    settings, picks = asked.settings, asked.picks
    if asked.epochs is not None:
        settings = replace(settings, steps=max(1, round(asked.epochs * len(training) / settings.batch)))
    statistics = watched(capture(pair, tokens))
    lost = components(statistics)
    # Where all are taken no order is needed, and a score may take a while.
    score = picks.score if picks.heads < 1 else "relative_error"
    order = head_order(score, ScoreInputs(pair, statistics, lost, training, held_out, seed=settings.seed))
    selection = share_of_heads(lost, order, picks.heads, picks.components)
    return Training(pair, lost, selection, training, held_out, settings)


def _trained(trainer: Training, quiet: bool) -> bool:
    """Train to the end, or until Ctrl-C, which keeps the best so far. True if it was stopped."""
    try:
        for step in trainer.steps():
            if step.held_out is not None and not quiet:
                say(_line(step, step.held_out, trainer.settings))
    except KeyboardInterrupt:
        if not trainer.history:
            raise
        trainer.judged()
        return True
    return False


def _line(step: Step, held_out: Perplexity, settings: Settings) -> str:
    loss = "" if step.step == 0 else f"loss {step.loss:.4f}  {step.tokens_per_second:.0f} tokens/s  "
    best = "  best" if step.best else ""
    judged = f"held-out loss {step.held_out_loss:.4f}, perplexity {shown(held_out)}"
    return f"step {step.step:>4} of {settings.steps}  {loss}{judged}{best}"


def _judged(trainer: Training, restoration: Restoration) -> dict[str, Perplexity]:
    """Perplexities of dense, pruned and restored on the held-out windows."""
    pair, held_out = trainer.pair, trainer.held_out
    in_place = partial(compensated, pair.pruned, restoration.compensation)
    return {
        "dense": perplexity(watched(measure(pair.dense, held_out))),
        "pruned": perplexity(watched(measure(pair.pruned, held_out))),
        "restored": perplexity(watched(measure(pair.pruned, held_out, within=in_place))),
    }


def _share(judged: dict[str, Perplexity]) -> float:
    return recovered_share(judged["dense"], judged["pruned"], judged["restored"])


def _figures(judged: dict[str, Perplexity]) -> dict[str, Any]:
    """What was measured, for JSON."""
    share = _share(judged)
    states = {state: found.figures() for state, found in judged.items()}
    return states | {"recovered_share": None if math.isnan(share) else share}


def _kept(
    asked: Asked, trainer: Training, restoration: Restoration, judged: dict[str, Perplexity], notes: Sequence[str]
) -> Run:
    """The run, kept before it is exported, since the export may meet a full disk. notes: on the text as it was read."""
    pair, tokens = trainer.pair, trainer.tokens
    text = {"source": asked.text.source, "windows": len(tokens), "length": tokens.ids.shape[1]}
    about = {
        "dense": pair.dense_name,
        "pruned": pair.pruned_name,
        "notes": pair.remarks(),
        "pruning": pruning_record(pair.pruned),
        **made_for(pair.pruned),
        "evaluation": JUDGED_BY,
        "calibration": text | {"notes": list(notes)},
        "figures": _figures(judged),
    }
    run = save_run(restoration, pair.geometry, asked.name or asked.folder.name, about, pruned=pair.pruned)
    try:
        face.export(restoration, pair, asked.folder, asked.format, about)
    except RestoreLCCError as error:
        raise type(error)(f"{error} The training is not lost: its adapter is in {run.folder / ADAPTER}.") from error
    return run


def _tell(restoration: Restoration, judged: dict[str, Perplexity], windows: int) -> None:
    """The figures, to people."""
    rows = [[state, shown(found)] for state, found in judged.items()]
    show_table(f"{windows} held-out windows, which also chose the best step", ["", "perplexity"], rows)
    share = _share(judged)
    if math.isnan(share):
        say("On this text the pruned model is no worse than the dense one, so there is nothing to recover.")
    else:
        say(f"{share:.1%} of the lost log-likelihood recovered with {restoration.trained_parameters} values.")
