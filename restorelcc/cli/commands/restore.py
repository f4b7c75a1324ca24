"""The command `restore`: pick, train, keep, and tell."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from ... import face
from ...artifacts.export_formats import FORMATS
from ...artifacts.runs import ADAPTER, Run, run_bytes, runs_folder, save_run
from ...artifacts.unfinished import PAIR, Keeper, Unfinished, find_unfinished, kept
from ...capture.components import components
from ...capture.statistics import capture
from ...compensation.interface import compensated
from ...compensation.weights import Weights
from ...errors import LoadError, ProcessLost, RestoreLCCError, SettingError, WriteError
from ...evaluation.comparison import Comparison, measured
from ...evaluation.perplexity import Perplexity
from ...foreign import foreign
from ...models.loading import Loading
from ...models.pair import ModelPair
from ...processes import lost_another, stoppable
from ...progress import duration
from ...progress_bar import watched
from ...restoration.parameters import training_seconds
from ...restoration.settings import Settings
from ...restoration.training import Restoration, Step, Training, directions
from ...restoration.weights import zeros
from ...selection.picks import share_of_heads, within_budget
from ...selection.predicted_effect import on_distance, on_loss
from ...selection.scores import ScoreInputs
from ...storage.folders import check_free, check_room, check_writable
from ...text.calibration import ELSEWHERE_WINDOWS, evaluation_apart, judged_on, split_held_out
from ...text.sources import same_text
from ...text.tokens import Tokens
from ..console import note, say, show_json, show_table, shown
from ..given.asked import TRAINED_ON, Asked
from ..opening import head_order, note_held_out, note_pair, open_pair, own_score_of
from ..tracking import Log, came_to, check_tracker, logged
from .about import about_run

BEGUN_HERE = "command"
"""Of what is kept of a training: what the command line was asked for."""
NOTABLE = 10**8
"""Bytes for training that are worth a line: a tenth of a gigabyte."""


def going_on(name: str) -> str:
    """The command that goes on with an interrupted training of this name."""
    return f"python -m restorelcc restore --continue {name}"


def restore(asked: Asked, as_json: bool) -> None:
    """Train what is put back, keep it as a run, and export it. What cannot be written or merged is refused first."""
    if asked.elsewhere and _trained_on(asked.elsewhere, asked.text.source):
        raise SettingError(
            f"{asked.elsewhere} is the text that is trained on. Give --elsewhere another one, of another kind, or ''."
        )
    check_tracker(asked.log_with)
    check_free(asked.folder)
    check_writable(runs_folder())
    pair, tokens = open_pair(asked.dense, asked.pruned, asked.text, asked.loading)
    elsewhere = second_text(asked, pair, tokens)
    export = max(FORMATS[asked.format].check(asked.folder, pair, kind) for kind in asked.settings.kinds)
    trainer = picked(asked, pair, tokens)
    note_held_out(trainer.tokens, trainer.held_out)
    check_room((asked.folder, export), (runs_folder(), run_bytes(trainer)))
    if trainer.memory > NOTABLE:
        note(
            f"Training {trainer.parameters.count} numbers takes about {trainer.memory / 1e9:.2g} GB beside the models."
        )
    about = about_run(trainer.pair, asked.text.source, trainer.tokens, trainer.held_out, tokens.notes)
    with kept(trainer, asked.run_name, about, {BEGUN_HERE: asked.written()}) as keeper:
        _finish(asked, trainer, keeper, about, elsewhere, as_json)


def _trained_on(source: str, calibration: str) -> bool:
    """Whether a text to judge by is the one to train on, whatever they are called."""
    return source == calibration or same_text(source, "evaluation", calibration, "calibration")


def resume(name: str, changed: dict[str, Any], as_json: bool) -> None:
    """Go on with a training that was interrupted, as it was begun but for what is `changed` of `Asked`. Raises
    SettingError, and whatever `restore` does."""
    interrupted = find_unfinished(name)
    if BEGUN_HERE not in interrupted.facts:
        _trained_for_the_app(interrupted, changed, as_json)
        return
    asked = Asked.read(interrupted.facts[BEGUN_HERE], interrupted.facts["settings"], changed)
    check_free(asked.folder)
    check_writable(runs_folder())
    with interrupted.taken_up() as keeper:
        pair = face.load_pair(asked.dense, asked.pruned, asked.loading)
        note_pair(pair)
        export = max(FORMATS[asked.format].check(asked.folder, pair, kind) for kind in asked.settings.kinds)
        trainer = interrupted.training(pair)
        elsewhere = second_text(asked, pair, trainer.tokens)
        check_room((asked.folder, export), (runs_folder(), run_bytes(trainer)))
        note(f"Going on with {name}: {interrupted.standing}.")
        _finish(asked, trainer, keeper, interrupted.facts["about"], elsewhere, as_json)


def _trained_for_the_app(interrupted: Unfinished, changed: dict[str, Any], as_json: bool) -> None:
    """Train to its end what the app began: the app, which has the text to judge it by, keeps it as a run then."""
    name, facts = interrupted.folder.name, interrupted.facts.get(PAIR)
    if not isinstance(facts, dict):
        raise SettingError(f"{name} was begun in the app. Go on with it there, on its Restore page.")
    if changed["folder"] is not None or changed["format"] is not None:
        raise SettingError(f"{name} was begun in the app, which exports it: leave --out and --format out.")
    given = {key: value for key, value in changed.items() if value is not None}
    with foreign(lambda reason: LoadError(f"It does not say what models it is of ({reason}). Restore the pair anew.")):
        dense, pruned, loading = str(facts["dense"]), str(facts["pruned"]), Loading(**(facts["loading"] | given))
    with interrupted.taken_up() as keeper:
        pair = face.load_pair(dense, pruned, loading)
        note_pair(pair)
        trainer = interrupted.training(pair)
        note(f"Going on with {name}: {interrupted.standing}.")
        stopped = _trained(trainer, keeper, as_json, None)
        keeper.keep(trainer, now=True)
        if keeper.fault:
            raise WriteError(keeper.fault)
    if as_json:
        show_json({"unfinished": str(interrupted.folder), "step": trainer.history[-1].step, "stopped": stopped})
    else:
        say(f"Trained, best at step {trainer.best.step}. The app measures it and keeps the run: Continue on its pages.")


def second_text(asked: Asked, pair: ModelPair, tokens: Tokens) -> Tokens | None:
    """The second text to judge by, in windows as long as those trained on."""
    if not asked.elsewhere:
        return None
    length, others = tokens.ids.shape[1], {"the text trained on": tokens}
    return evaluation_apart(asked.elsewhere, pair.dense, pair.tokenizer, length, ELSEWHERE_WINDOWS, others)


def _protocol(asked: Asked, pair: ModelPair, elsewhere: Tokens) -> dict[str, Any] | None:
    """What a command that evaluates is told to read the same tokens, in the same precision."""
    read = judged_on(elsewhere, asked.elsewhere, pair.pruned, pair.tokenizer, ELSEWHERE_WINDOWS)
    dtype = asked.loading.dtype
    return read if read is None or dtype == Loading().dtype else read | {"dtype": dtype}


def _finish(
    asked: Asked, trainer: Training, keeper: Keeper, about: dict[str, Any], elsewhere: Tokens | None, as_json: bool
) -> None:
    """Train to the end, measure, keep the run, export it and tell. about: what is known of the run before that."""
    try:
        with logged(asked.log_with, "", note) as log:
            before = trainer.history[0].held_out_loss if trainer.history else None
            log.begin(asked.run_name, asdict(trainer.settings), before)
            stopped = _trained(trainer, keeper, as_json, log)
            restoration = trainer.result()
            judged = judgement(asked, trainer, restoration, elsewhere)
            more = {"trained_parameters": restoration.trained_parameters, "best_step": restoration.best_step}
            log.end(came_to(judged.held_out, judged.elsewhere, **more))
        run = _kept(asked, trainer, restoration, keeper, about | {"figures": judged.figures()})
    except BaseException as error:
        if trainer.history and keeper.is_kept:
            if lost_another(error):
                raise ProcessLost(
                    f"Another process of this launch ended, and this one with it. The training is kept. Go on with it: "
                    f"{going_on(keeper.folder.name)}"
                ) from error
            note(f"The training is kept. Go on with it: {going_on(keeper.folder.name)}")
        raise
    zeroed = zeros(trainer.pair, asked.settings.where) if asked.settings.kind == Weights.kind else None
    if as_json:
        told: dict[str, Any] = {"trained_parameters": restoration.trained_parameters}
        told |= {"best_step": restoration.best_step, "what": asked.settings.kind, "way": asked.settings.way}
        if zeroed is not None:
            told |= {"where": asked.settings.where, "zeros": zeroed[0], "zeros_in_dense": zeroed[1]}
        ends = {"stopped": stopped, "ended": restoration.ended or None}
        show_json(judged.figures() | told | ends | {"out": str(asked.folder), "run": str(run.folder)})
    else:
        _tell(restoration, judged, asked.text.source)
        if zeroed is not None:
            unpruned = f", {zeroed[1]} of them zero in the dense model too" if zeroed[1] else ""
            say(f"Every zero is where it was: {zeroed[0]} in the matrices that were trained{unpruned}.")
        kept_step = "Best at" if asked.settings.keep == "best" else "Kept as it was at the end,"
        say(f"{kept_step} step {restoration.best_step}. In {asked.folder}; the run is kept in {run.folder}")
    if restoration.ended:
        note(restoration.ended)


def picked(asked: Asked, pair: ModelPair, tokens: Tokens) -> Training:
    """The training of what is picked, by what the capture or a score says of it."""
    training, held_out = split_held_out(tokens)
    settings, picks = asked.settings, asked.picks
    own = own_score_of(picks.own, pair)  # Refused before what takes long.
    statistics = watched(capture(pair, tokens))
    lost = components(statistics)
    contrast = _contrast(asked, training)
    inputs = ScoreInputs(pair, statistics, lost, training, held_out, contrast=contrast, seed=settings.seed)
    if picks.chosen:
        selection = picks.selection()
    elif picks.budget is not None:
        effect = watched(on_distance(inputs) if settings.loss == "kl" else on_loss(inputs))
        turns = effect.along(lost).in_turn(picks.budget)
        selection = within_budget(lost, picks.budget, settings.learned, -turns)
    else:
        # Where all are taken no order is needed, and a score may take a while.
        order = head_order(picks.score if picks.heads < 1 else "relative_error", inputs, own)
        selection = share_of_heads(lost, order, picks.heads, picks.components)
    if settings.positions == "last" and not training.asks.any():
        note(f"{asked.text.source} asks no questions: directions are of the last token of every window.")
    lost = watched(directions(pair, lost, training, settings))
    return Training(pair, lost, selection, training, held_out, settings)


def _contrast(asked: Asked, training: Tokens) -> str:
    """Source of the questions for probes."""
    picks = asked.picks
    if picks.contrast != TRAINED_ON or training.asks.all():
        return asked.text.source if picks.contrast == TRAINED_ON else picks.contrast
    if picks.score == "probing" and picks.heads < 1:
        note(f"{asked.text.source} asks no questions with answers, so heads are probed with those of demo.")
    return "demo"


def _trained(trainer: Training, keeper: Keeper, quiet: bool, log: Log) -> bool:
    """Train to the end, or until Ctrl-C, which keeps the best so far. True if it was stopped."""
    said, began = "", time.perf_counter()
    try:
        with stoppable() as asked:
            for step in trainer.steps():
                if step.step == 0 and not quiet:
                    _announce(trainer, time.perf_counter() - began)
                keeper.keep(trainer)
                log.step(step, trainer.settings.loss)
                if keeper.fault != said:
                    said = keeper.fault
                    note(f"Should this be interrupted, it cannot go on: {said}" if said else "It is kept again.")
                if step.held_out is not None and not quiet:
                    say(_line(step, step.held_out, trainer.settings))
                if asked():
                    raise KeyboardInterrupt
    except KeyboardInterrupt:
        if not trainer.history:
            raise
        trainer.judged()
        return True
    return False


def _announce(trainer: Training, measured: float) -> None:
    """How long it is going to take, where that is not over at once. measured: seconds that measuring before the first
    step took, in which both models read the held-out texts."""
    texts, length = trainer.held_out.ids.shape
    seconds = training_seconds(trainer.settings, length, texts, measured / (2 * texts * length))
    if seconds >= 60:
        note(f"Training takes about {duration(seconds)} on this machine.")


def _line(step: Step, held_out: Perplexity, settings: Settings) -> str:
    loss = "" if step.step == 0 else f"loss {step.loss:.4f}  {step.tokens_per_second:.0f} tokens/s  "
    best = "  best" if step.best else ""
    judged = f"held-out loss {step.held_out_loss:.4f}, perplexity {shown(held_out)}"
    seconds = step.seconds / max(1, step.step) * (settings.steps - step.step)
    left = f"  about {duration(seconds)} left" if step.step and seconds >= 60 else ""
    return f"step {step.step:>4} of {settings.steps}  {loss}{judged}{best}{left}"


@dataclass(frozen=True)
class Judged:
    """What a restoration came to."""

    held_out: Comparison
    """On the held-out windows."""
    elsewhere: Comparison | None
    """On a text that nothing was trained or chosen on; None where none was asked for."""
    source: str
    """Of that text."""
    notes: tuple[str, ...] = ()
    """How it was read, and what of it was left out."""
    judged_on: dict[str, Any] | None = None
    """How a command reads the same of it (see `text.calibration.judged_on`)."""

    def figures(self) -> dict[str, Any]:
        """As they are kept with a run, and told to programs."""
        figures = self.held_out.figures()
        if self.elsewhere is None:
            return figures
        said = {"text": self.source, "notes": list(self.notes), "judged_on": self.judged_on}
        return figures | {"elsewhere": said | self.elsewhere.figures()}


def judgement(asked: Asked, trainer: Training, restoration: Restoration, elsewhere: Tokens | None) -> Judged:
    """Dense, pruned and restored on the held-out windows and elsewhere."""
    pair, in_place = trainer.pair, partial(compensated, trainer.pair.pruned, restoration.compensation)
    return Judged(
        watched(measured(pair.dense, pair.pruned, trainer.held_out, in_place)),
        None if elsewhere is None else watched(measured(pair.dense, pair.pruned, elsewhere, in_place)),
        asked.elsewhere,
        () if elsewhere is None else elsewhere.notes,
        None if elsewhere is None else _protocol(asked, pair, elsewhere),
    )


def _kept(asked: Asked, trainer: Training, restoration: Restoration, keeper: Keeper, about: dict[str, Any]) -> Run:
    """The run, kept before it is exported, since the export may meet a full disk."""
    pair, folder = trainer.pair, keeper.folder.name
    try:
        facts = {"asked": asked.made_with()}
        run = save_run(
            restoration, pair.geometry, asked.run_name, about, pruned=pair.pruned, folder=folder, facts=facts
        )
    except WriteError as error:
        if not keeper.fault:  # It can be gone on with, and be exported then.
            raise
        face.export(restoration, pair, asked.folder, asked.format, about)
        raise WriteError(f"{error} It is exported all the same, to {asked.folder}.") from error
    keeper.over()
    try:
        face.export(restoration, pair, asked.folder, asked.format, about)
    except RestoreLCCError as error:
        raise type(error)(f"{error} The training is not lost: its adapter is in {run.folder / ADAPTER}.") from error
    return run


def _tell(restoration: Restoration, judged: Judged, source: str) -> None:
    """The figures, to people. source: of the text that was trained on."""
    for remark in judged.notes:
        note(f"{judged.source}: {remark}")
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
