"""The command `restore`: pick, train, keep, and tell."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from ... import face
from ...artifacts.export_formats import FORMATS
from ...artifacts.runs import ADAPTER, Run, run_bytes, runs_folder, save_run
from ...artifacts.unfinished import PAIR, Keeper, Unfinished, find_unfinished, kept
from ...compensation.weights import Weights
from ...errors import LoadError, ProcessLost, RestoreLCCError, SettingError, WriteError
from ...evaluation.perplexity import Perplexity
from ...foreign import foreign
from ...judging import Judged
from ...models.loading import Loading
from ...processes import lost_another, stoppable
from ...progress import duration
from ...restoration.parameters import training_seconds
from ...restoration.settings import Settings
from ...restoration.training import Restoration, Step, Training
from ...restoration.weights import zeros
from ...storage.folders import check_free, check_room, check_writable
from ...text.sources import same_text
from ...text.tokens import whole
from ..console import note, say, show_json, show_table, shown
from ..given.asked import Asked
from ..opening import note_held_out, note_pair
from ..tracking import Log, came_to, check_tracker, logged
from .restoring.opened import HELD_OUT, Opened, about, judged_by, judgement, opened, picked, second_text

BEGUN_HERE = "command"
"""Of what is kept of a training: what the command line was asked for."""
NOTABLE = 10**8
"""Bytes for training that are worth a line: a tenth of a gigabyte."""


def going_on(name: str) -> str:
    """The command that goes on with an interrupted training of this name."""
    return f"python -m restorelcc restore --continue {name}"


def restore(asked: Asked, as_json: bool) -> Path:
    """Train what is put back, keep it as a run, and export it into the folder that it gives. What cannot be written or
    merged is refused first."""
    if asked.elsewhere and asked.in_app is None and _trained_on(asked.elsewhere, asked.text.source):
        raise SettingError(
            f"{asked.elsewhere} is the text that is trained on. Give --elsewhere another one, of another kind, or ''."
        )
    check_tracker(asked.log_with)
    check_free(asked.folder)
    check_writable(runs_folder())
    given = opened(asked)
    export = max(FORMATS[asked.format].check(asked.folder, given.pair, kind) for kind in asked.settings.kinds)
    trainer = picked(asked, given)
    note_held_out(trainer.tokens, trainer.held_out)
    check_room((asked.folder, export), (runs_folder(), run_bytes(trainer)))
    if trainer.memory > NOTABLE:
        note(
            f"Training {trainer.parameters.count} numbers takes about {trainer.memory / 1e9:.2g} GB beside the models."
        )
    said = about(asked, given, trainer)
    with kept(trainer, asked.run_name, said, {BEGUN_HERE: asked.written()}) as keeper:
        _finish(asked, given, trainer, keeper, said, as_json)
    return asked.folder


def _trained_on(source: str, calibration: str) -> bool:
    """Whether a text to judge by is the one to train on, whatever they are called."""
    return source == calibration or same_text(source, "evaluation", calibration, "calibration")


def resume(name: str, changed: dict[str, Any], as_json: bool, push: bool = False) -> Path:
    """Go on with a training that was interrupted, as it was begun but for what is `changed` of `Asked`, into the
    folder that it gives. push: the export is to be uploaded. Raises SettingError, and whatever `restore` does."""
    interrupted = find_unfinished(name)
    if BEGUN_HERE not in interrupted.facts:
        return _trained_for_the_app(interrupted, changed, push, as_json)
    asked = Asked.read(interrupted.facts[BEGUN_HERE], interrupted.facts["settings"], changed)
    check_tracker(asked.log_with)
    check_free(asked.folder)
    check_writable(runs_folder())
    with interrupted.taken_up() as keeper:
        given = opened(asked) if asked.in_app is not None else _paired(asked)
        export = max(FORMATS[asked.format].check(asked.folder, given.pair, kind) for kind in asked.settings.kinds)
        trainer = interrupted.training(given.pair)
        if asked.in_app is None:
            given = replace(given, elsewhere=second_text(asked, given.pair, trainer.tokens))
        check_room((asked.folder, export), (runs_folder(), run_bytes(trainer)))
        note(f"Going on with {name}: {interrupted.standing}.")
        _finish(asked, given, trainer, keeper, interrupted.facts["about"], as_json)
    return asked.folder


def _trained_for_the_app(interrupted: Unfinished, changed: dict[str, Any], push: bool, as_json: bool) -> Path:
    """Train to its end what the app began: the app, which has the text to judge it by, keeps it as a run then."""
    name, facts = interrupted.folder.name, interrupted.facts.get(PAIR)
    if not isinstance(facts, dict):
        raise SettingError(f"{name} was begun in the app. Go on with it there, on its Restore page.")
    if push or changed["folder"] is not None or changed["format"] is not None:
        raise SettingError(f"{name} was begun in the app, which exports it: leave --out, --format and --push out.")
    log_with = changed.get("log_with") or ""
    check_tracker(log_with)
    given = {key: value for key, value in changed.items() if value is not None and key != "log_with"}
    with foreign(lambda reason: LoadError(f"It does not say what models it is of ({reason}). Restore the pair anew.")):
        dense, pruned, loading = str(facts["dense"]), str(facts["pruned"]), Loading(**(facts["loading"] | given))
    with interrupted.taken_up() as keeper:
        pair = face.load_pair(dense, pruned, loading)
        note_pair(pair)
        trainer = interrupted.training(pair)
        note(f"Going on with {name}: {interrupted.standing}.")
        with logged(log_with, "", note) as log:
            log.begin(interrupted.name, asdict(trainer.settings), _before(trainer))
            stopped = _trained(trainer, keeper, as_json, log)
        keeper.keep(trainer, now=True)
        if keeper.fault:
            raise WriteError(keeper.fault)
    if as_json:
        show_json({"unfinished": str(interrupted.folder), "step": trainer.history[-1].step, "stopped": stopped})
    else:
        say(f"Trained, best at step {trainer.best.step}. The app measures it and keeps the run: Continue on its pages.")
    return interrupted.folder


def _before(trainer: Training) -> float | None:
    """The held-out loss before the first step; None where that was not measured yet."""
    return trainer.history[0].held_out_loss if trainer.history else None


def _paired(asked: Asked) -> Opened:
    """The pair alone: the texts of a training that was kept are kept with it."""
    pair = face.load_pair(asked.dense, asked.pruned, asked.loading)
    note_pair(pair)
    return Opened(pair, whole(torch.zeros(0, 1, dtype=torch.int64)), None)


def _finish(
    asked: Asked, given: Opened, trainer: Training, keeper: Keeper, about: dict[str, Any], as_json: bool
) -> None:
    """Train to the end, measure, keep the run, export it and tell. about: what is known of the run before that."""
    try:
        with logged(asked.log_with, "", note) as log:
            log.begin(asked.run_name, asdict(trainer.settings), _before(trainer))
            stopped = _trained(trainer, keeper, as_json, log)
            restoration = trainer.result()
            judged = judgement(asked, given, trainer, restoration)
            more = {"trained_parameters": restoration.trained_parameters, "best_step": restoration.best_step}
            log.end(came_to(judged.there, judged.elsewhere, **more))
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
        _tell(restoration, judged, judged_by(asked))
        if zeroed is not None:
            unpruned = f", {zeroed[1]} of them zero in the dense model too" if zeroed[1] else ""
            say(f"Every zero is where it was: {zeroed[0]} in the matrices that were trained{unpruned}.")
        kept_step = "Best at" if asked.settings.keep == "best" else "Kept as it was at the end,"
        say(f"{kept_step} step {restoration.best_step}. In {asked.folder}; the run is kept in {run.folder}")
    if restoration.ended:
        note(restoration.ended)


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


def _tell(restoration: Restoration, judged: Judged, by: str) -> None:
    """The figures, to people. by: what the first of them are of."""
    for remark in judged.notes:
        note(f"{judged.source}: {remark}")
    texts = {by: judged.there}
    if judged.elsewhere is not None:
        texts[judged.source] = judged.elsewhere
    states = ("dense", "pruned", "restored")
    rows = [
        [text, *(shown(getattr(found, state)) for state in states), str(found.recovered), str(found.nearer)]
        for text, found in texts.items()
    ]
    chose = (
        "held-out windows, which also chose the best step" if by.endswith(HELD_OUT) else "windows of evaluation text"
    )
    show_table(
        f"{judged.there.windows} {chose}"
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
