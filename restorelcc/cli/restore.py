"""The command `restore`: pick, train, keep, and tell."""

from __future__ import annotations

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
from ..evaluation.comparison import Comparison, measured
from ..evaluation.perplexity import Perplexity
from ..hf.narrow import pruning_record
from ..models.loading import Loading
from ..models.pair import ModelPair
from ..progress_bar import watched
from ..restoration.training import Restoration, Settings, Step, Training
from ..selection.picks import check_share, share_of_heads
from ..selection.scores import ScoreInputs
from ..storage.folders import check_free, check_writable
from ..text.calibration import ELSEWHERE_WINDOWS, evaluation_tokens, split_held_out
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
    elsewhere: str
    """Source of a second text to judge by, which nothing is trained or chosen on; empty: none."""
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
    if asked.elsewhere == asked.text.source:
        raise SettingError(
            f"{asked.elsewhere} is the text that is trained on. Give --elsewhere another one, of another kind, or ''."
        )
    check_free(asked.folder)
    check_writable(runs_folder())
    pair, tokens = open_pair(asked.dense, asked.pruned, asked.text, asked.loading)
    elsewhere = None
    if asked.elsewhere:
        length = tokens.ids.shape[1]
        elsewhere = evaluation_tokens(asked.elsewhere, pair.dense, pair.tokenizer, length, most=ELSEWHERE_WINDOWS)
    FORMATS[asked.format].check(asked.folder, pair, asked.settings.kind)
    trainer = _picked(asked, pair, tokens)
    stopped = _trained(trainer, quiet=as_json)
    restoration = trainer.result()
    judged = _judged(asked, trainer, restoration, elsewhere)
    run = _kept(asked, trainer, restoration, judged, tokens.notes)
    if as_json:
        told = {"trained_parameters": restoration.trained_parameters, "best_step": restoration.best_step}
        show_json(judged.figures() | told | {"stopped": stopped, "out": str(asked.folder), "run": str(run.folder)})
    else:
        _tell(restoration, judged, asked.text.source)
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


@dataclass(frozen=True)
class Judged:
    """What a restoration came to."""

    held_out: Comparison
    """On the held-out windows."""
    elsewhere: Comparison | None
    """On a text that nothing was trained or chosen on; None where none was asked for."""
    source: str
    """Of that text."""

    def figures(self) -> dict[str, Any]:
        """As they are kept with a run, and told to programs."""
        figures = self.held_out.figures()
        return (
            figures
            if self.elsewhere is None
            else figures | {"elsewhere": {"text": self.source} | self.elsewhere.figures()}
        )


def _judged(asked: Asked, trainer: Training, restoration: Restoration, elsewhere: Tokens | None) -> Judged:
    """Dense, pruned and restored on the held-out windows and elsewhere."""
    pair, in_place = trainer.pair, partial(compensated, trainer.pair.pruned, restoration.compensation)
    return Judged(
        watched(measured(pair.dense, pair.pruned, trainer.held_out, in_place)),
        None if elsewhere is None else watched(measured(pair.dense, pair.pruned, elsewhere, in_place)),
        asked.elsewhere,
    )


def _kept(asked: Asked, trainer: Training, restoration: Restoration, judged: Judged, notes: Sequence[str]) -> Run:
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
        "figures": judged.figures(),
    }
    run = save_run(restoration, pair.geometry, asked.name or asked.folder.name, about, pruned=pair.pruned)
    try:
        face.export(restoration, pair, asked.folder, asked.format, about)
    except RestoreLCCError as error:
        raise type(error)(f"{error} The training is not lost: its adapter is in {run.folder / ADAPTER}.") from error
    return run


def _tell(restoration: Restoration, judged: Judged, source: str) -> None:
    """The figures, to people. source: of the text that was trained on."""
    texts = {f"{source}, held out": judged.held_out}
    if judged.elsewhere is not None:
        texts[judged.source] = judged.elsewhere
    states = ("dense", "pruned", "restored")
    rows = [
        [text, *(shown(getattr(found, state)) for state in states), str(found.recovered), str(found.nearer)]
        for text, found in texts.items()
    ]
    show_table(
        f"{judged.held_out.windows} held-out windows, which also chose the best step"
        + ("" if judged.elsewhere is None else f", and {judged.elsewhere.windows} that nothing was chosen on"),
        ["perplexity on", *states, "recovered", "nearer"],
        rows,
    )
    say(
        f"{restoration.trained_parameters} values trained. Recovered: of the log-likelihood that pruning lost. Nearer: "
        "of the distance to the dense model, KL of the next token."
    )
    for text, found in texts.items():
        if not found.recovered.known:
            say(f"On {text} the pruned model is no worse than the dense one, so there is nothing to recover.")
        if found.learns_the_text:
            say(f"On {text} likelihood rises while the distance to the dense model grows: it learns the text.")
