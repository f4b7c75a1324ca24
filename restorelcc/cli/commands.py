"""What the commands do: compose the engine, show progress, print figures."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from platformdirs import user_data_path
from torch import Tensor

from .. import face
from ..artifacts import export
from ..artifacts.folders import check_free, check_writable
from ..artifacts.runs import ADAPTER, list_runs, runs_folder, save_run
from ..capture.components import components
from ..capture.statistics import capture
from ..compensation.interface import Compensation, compensated, folded
from ..compensation.kinds import KINDS
from ..demo.pair import DEFAULT
from ..demo.walkthrough import STATES, walk
from ..errors import RestoreLCCError, SettingError
from ..evaluation.perplexity import Perplexity, measure, paired_difference, perplexity, recovered_share
from ..hf.families import FAMILIES, RUNTIMES
from ..hf.layout import geometry, remarks
from ..hf.weights import parameter_bytes
from ..models.loading import Loading, load_model, load_tokenizer
from ..models.pair import ModelPair
from ..progress_bar import watched
from ..pruning.layerwise import Pruning
from ..pruning.layerwise import prune as prune_model
from ..pruning.methods import narrows
from ..pruning.sparsity import measure_sparsity
from ..restoration.training import Settings, Step, Training
from ..selection.picks import check_share, share_of_heads
from ..selection.scores import SCORES, ScoreInputs
from ..selection.scoring import score_heads
from ..text.calibration import calibration_tokens, evaluation_tokens, split_held_out
from ..text.tokens import Tokens
from .console import note, run, say, show_json, show_table

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "Picks", "Text", "demo", "evaluate", "families", "head_order", "note_pair", "open_pair", "prune", "pruning",
    "records", "restore", "run", "runs", "shown",
]  # fmt: skip


@dataclass(frozen=True)
class Text:
    """Where calibration text comes from and how much of it is used."""

    source: str
    windows: int
    length: int | None
    seed: int

    def tokens(self, dense: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Tokens:
        """Read, or sampled from `dense`; says what of the text was left out."""
        tokens = watched(calibration_tokens(self.source, dense, tokenizer, self.length, self.windows, self.seed))
        for remark in tokens.notes:
            note(f"{self.source}: {remark}")
        return tokens


@dataclass(frozen=True)
class Picks:
    """Which heads and components to restore."""

    heads: float
    """Share of all heads that the pruned model has."""
    score: str
    components: int | None

    def __post_init__(self) -> None:
        check_share(self.heads)


def pruning(
    method: str,
    sparsity: float | None,
    pattern: str | None,
    ratio: float | None = None,
    allocation: str = "uniform",
    default: float = 0.5,
) -> Pruning:
    """What the options together say. Raises SettingError where they contradict each other."""
    if narrows(method):
        if sparsity is not None:
            raise SettingError(
                f"Structured pruning zeroes no single weights, so a sparsity of {sparsity:g} says nothing. Give "
                "--ratio, the share of heads and MLP channels to remove."
            )
        return Pruning(method, 0.25 if ratio is None else ratio, pattern, allocation)
    if ratio is not None:
        raise SettingError(
            f"A ratio is the share of heads and channels that structured pruning removes; {method} removes none. "
            "Give --sparsity, or --method structured."
        )
    chosen = Pruning(method, default if sparsity is None else sparsity, pattern, allocation)
    if pattern is not None and sparsity is not None and not math.isclose(chosen.sparsity, sparsity):
        raise SettingError(
            f"Pattern {pattern} means a sparsity of {chosen.sparsity:g}, not {sparsity:g}. Give one of them."
        )
    return chosen


def open_pair(dense: str, pruned: str, words: Text, loading: Loading) -> tuple[ModelPair, Tokens]:
    """Both models and the tokens to calibrate on."""
    pair = face.load_pair(dense, pruned, loading)
    note_pair(pair)
    return pair, words.tokens(pair.dense, pair.tokenizer)


def note_pair(pair: ModelPair) -> None:
    """Say how a pair was read."""
    for remark in pair.notes:
        note(remark)


def head_order(score: str, inputs: ScoreInputs) -> Tensor:
    """[layer, head], highest for the head that a score of this name takes first. Raises SettingError."""
    return SCORES[score].order(watched(score_heads(score, inputs)).values)


def shown(found: Perplexity) -> str:
    """With its standard error."""
    return f"{found.value:.3f} ± {found.stderr:.3f}"


def demo(
    folder: Path | None,
    source: str,
    sparsity: float | None,
    pattern: str | None,
    seed: int,
    loading: Loading,
    as_json: bool,
) -> None:
    """The whole way on the embedded model."""
    chosen = pruning(DEFAULT.method, sparsity, pattern, default=DEFAULT.sparsity)
    place = folder or user_data_path("restorelcc") / "demo-restored"
    # The default place is ours alone, so a second demo may take it over; a place the user named may not.
    if folder is None:
        check_writable(place.parent)
    else:
        check_free(folder)
    walked = watched(walk(place, chosen, source, Settings(seed=seed), loading, replace=folder is None))
    if as_json:
        show_json(walked.to_json())
        return
    dense, pruned = (perplexity(walked.losses[name]) for name in ("dense", "pruned"))
    rows = []
    for name in STATES:
        found = perplexity(walked.losses[name])
        change = paired_difference(walked.losses[name], walked.losses["pruned"])
        share = recovered_share(dense, pruned, found)
        rows.append([name, shown(found), f"{change.nats:+.4f} ± {change.stderr:.4f}", f"{share:.1%}"])
    amount = chosen.pattern or f"{chosen.sparsity:.0%}"
    title = f"Embedded model, {chosen.method} {amount}, {dense.tokens} evaluation tokens"
    show_table(title, ["", "perplexity", "nats against pruned", "recovered"], rows)
    seconds = walked.seconds
    zeros = {name: report.zeros for name, report in walked.sparsity.items()}
    say(
        f"{walked.restoration.trained_parameters} values trained; zeros in weight matrices: {zeros['pruned']} pruned, "
        f"{zeros['restored']} restored.\nPruned in {seconds['prune']:.0f} s, captured in {seconds['capture']:.0f} s, "
        f"restored in {seconds['restore']:.0f} s; {seconds['total']:.0f} s in all."
    )
    say(f"The restored checkpoint is in {walked.export}")


def prune(name: str, folder: Path, chosen: Pruning, words: Text, loading: Loading, as_json: bool) -> None:
    """Prune into a checkpoint."""
    check_free(folder)
    model, tokenizer = load_model(name, loading), load_tokenizer(name, loading)
    check_free(folder, round(parameter_bytes(model) * (1 - chosen.sparsity if chosen.narrows else 1)))
    for remark in remarks(model):
        note(remark)
    tokens = words.tokens(model, tokenizer)
    pruned = watched(prune_model(model, tokens, chosen, words.source))
    export.save_checkpoint(folder, pruned, tokenizer, about={"dense": name})
    report = measure_sparsity(pruned)
    sizes = {"dense": model.num_parameters(), "pruned": pruned.num_parameters()}
    if as_json:
        weights = {"sparsity": report.sparsity, "weights": report.weights, "zeros": report.zeros}
        show_json(weights | {"parameters": sizes, "out": str(folder)})
    elif chosen.narrows:
        say(
            f"{geometry(pruned).n_heads} of {geometry(model).n_heads} heads a layer and {sizes['pruned']} of "
            f"{sizes['dense']} parameters are left, in {folder}"
        )
    else:
        say(f"{report.zeros} of {report.weights} weights are zero ({report.sparsity:.2%}), in {folder}")


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON has them, None where there is no number."""
    rows = frame.to_dict(orient="records")
    return [{str(key): None if value is pd.NA else value for key, value in row.items()} for row in rows]


def restore(
    dense: str,
    pruned: str,
    folder: Path,
    format: str,
    name: str | None,
    words: Text,
    picks: Picks,
    given: dict[str, Any],
    epochs: float | None,
    loading: Loading,
    as_json: bool,
) -> None:
    """Train, export, and keep the run."""
    if epochs is not None and "steps" in given:
        raise SettingError("Give --steps or --epochs, not both: each says how long to train.")
    if epochs is not None and epochs <= 0:
        raise SettingError(f"{epochs} epochs would train nothing. Give more than 0.")
    settings = Settings(**given)
    check_free(folder)
    check_writable(runs_folder())
    pair, tokens = open_pair(dense, pruned, words, loading)
    if format == "checkpoint":
        check_free(folder, parameter_bytes(pair.pruned))
        # What cannot be merged is refused before the training.
        folded(pair.pruned, KINDS[settings.kind].none(pair.geometry))
    training, held_out = split_held_out(tokens)
    if epochs is not None:
        settings = replace(settings, steps=max(1, round(epochs * len(training) / settings.batch)))
    statistics = watched(capture(pair, tokens))
    lost = components(statistics)
    # Where all are taken no order is needed, and a score may take a while.
    score = picks.score if picks.heads < 1 else "relative_error"
    order = head_order(score, ScoreInputs(pair, statistics, lost, training, held_out, seed=settings.seed))
    selection = share_of_heads(lost, order, picks.heads, picks.components)
    trainer = Training(pair, lost, selection, training, held_out, settings)
    stopped = _trained(trainer, quiet=as_json)
    restoration = trainer.result()

    found = _held_out_figures(pair, held_out, restoration.compensation)
    share = recovered_share(found["dense"], found["pruned"], found["restored"])
    figures = {
        **{state: one.figures() for state, one in found.items()},
        "recovered_share": None if math.isnan(share) else share,
    }
    about = {
        "dense": pair.dense_name,
        "pruned": pair.pruned_name,
        "notes": list(pair.notes),
        "pruning": getattr(pair.pruned.config, "pruning", None),
        **export.made_for(pair.pruned),
        "evaluation": "held-out windows of the text trained on, which also chose the best step",
        "calibration": {
            "source": words.source,
            "windows": len(training),
            "length": tokens.ids.shape[1],
            "notes": list(tokens.notes),
        },
        "figures": figures,
    }
    # First: whatever the export meets.
    kept = save_run(restoration, pair.geometry, name or folder.name, about, pruned=pair.pruned)
    try:
        face.export(restoration, pair, folder, format, about)
    except RestoreLCCError as error:
        raise type(error)(f"{error} The training is not lost: its adapter is in {kept.folder / ADAPTER}.") from error
    result = {**figures, "trained_parameters": restoration.trained_parameters, "best_step": restoration.best_step}
    if as_json:
        show_json(result | {"stopped": stopped, "out": str(folder), "run": str(kept.folder)})
        return
    rows = [[state, shown(one)] for state, one in found.items()]
    show_table(f"{len(held_out)} held-out windows, which also chose the best step", ["", "perplexity"], rows)
    if math.isnan(share):
        say("On this text the pruned model is no worse than the dense one, so there is nothing to recover.")
    else:
        say(f"{share:.1%} of the lost log-likelihood recovered with {restoration.trained_parameters} values.")
    say(f"Best at step {restoration.best_step}. In {folder}; the run is kept in {kept.folder}")


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


def _held_out_figures(pair: ModelPair, held_out: Tokens, compensation: Compensation) -> dict[str, Perplexity]:
    """Perplexities of dense, pruned and restored on the held-out windows."""
    return {
        "dense": perplexity(watched(measure(pair.dense, held_out))),
        "pruned": perplexity(watched(measure(pair.pruned, held_out))),
        "restored": perplexity(
            watched(measure(pair.pruned, held_out, within=lambda: compensated(pair.pruned, compensation)))
        ),
    }


def evaluate(
    name: str,
    adapter: Path | None,
    source: str,
    stride: int | None,
    windows: int | None,
    length: int | None,
    loading: Loading,
    as_json: bool,
) -> None:
    """Perplexity of a model, with an adapter or without."""
    model, tokenizer = load_model(name, loading), load_tokenizer(name, loading)
    tokens = evaluation_tokens(source, model, tokenizer, length, stride, windows)
    if adapter is None:
        loss = watched(measure(model, tokens))
    else:
        loaded = export.load_adapter(adapter)
        export.adapter_fits(loaded, model)
        loss = watched(measure(model, tokens, within=lambda: compensated(model, loaded.compensation)))
    found = perplexity(loss)
    if as_json:
        text = {"text": source, "windows": len(tokens), "length": tokens.ids.shape[1], "notes": list(tokens.notes)}
        show_json(found.figures() | text)
        return
    say(
        f"perplexity {shown(found)} on {source}, over {found.tokens} tokens in {len(tokens)} windows of "
        f"{tokens.ids.shape[1]}"
    )
    for remark in tokens.notes:
        say(remark)


def runs(as_json: bool) -> None:
    """List what was kept."""
    kept = list_runs()
    if as_json:
        show_json({"runs": [run.config | {"folder": str(run.folder), "damage": run.damage or None} for run in kept]})
        return
    if not kept:
        say("No restorations are kept yet. Make one with: python -m restorelcc restore --help")
        return
    rows = []
    for entry in kept:
        share = entry.config.get("figures", {}).get("recovered_share")  # null where pruning lost nothing
        made = f"{entry.created:%Y-%m-%d %H:%M}" if entry.created else ""
        trained = str(entry.config.get("trained_parameters", ""))
        rows.append([entry.name, made, trained, "" if share is None else f"{share:.1%}", str(entry.folder)])
    show_table("Restorations", ["name", "made (UTC)", "trained values", "recovered", "folder"], rows)
    for entry in kept:
        if entry.damage:
            say(f"Damaged: {entry.folder.name}: {entry.damage}")


def families(as_json: bool) -> None:
    """List the families of models that are tested."""
    if as_json:
        show_json({"families": [asdict(family) for family in FAMILIES.values()]})
        return
    rows = [[cell.strip("*").replace("`", "") for cell in family.row()] for family in FAMILIES.values()]
    columns = ["family", "model_type", "a restoration is exported", *RUNTIMES.values()]
    show_table("Families tested the whole way", columns, rows)
    say("Any other is found by its structure, and inspect says so. The last columns: whether these keep the bias.")
