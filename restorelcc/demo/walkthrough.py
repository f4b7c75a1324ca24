"""The whole way on the embedded pair: prune, capture, put back, train, export, and read the export back."""

import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from ..artifacts.export import save_checkpoint
from ..capture.components import components
from ..capture.statistics import capture
from ..compensation.constants import injected
from ..compensation.interface import compensated
from ..evaluation.perplexity import Difference, TokenLoss, measure, paired_difference, perplexity, recovered_share
from ..models.loading import Loading
from ..progress import Progress
from ..pruning.layerwise import Pruning
from ..pruning.sparsity import SparsityReport, measure_sparsity
from ..restoration.training import Restoration, Settings, Training
from ..selection.picks import everything
from ..text import sources
from ..text.calibration import calibration_tokens, split_held_out
from ..text.tokens import windows
from .pair import DEFAULT, demo_dense, demo_pair

# More would be better, and sampling and pruning would take longer: the demo is to be over within three minutes.
WINDOWS = 96
STATES = ("dense", "pruned", "injected", "restored", "reloaded")


@dataclass(frozen=True)
class Walked:
    """What the walk found, all on the same evaluation text, which nothing was calibrated or trained on."""

    losses: dict[str, TokenLoss]
    """dense; pruned; injected: the mean lost activation of every head put back, without training; restored: trained;
    reloaded: the exported checkpoint as stock Transformers loads it."""
    sparsity: dict[str, SparsityReport]
    """pruned, and restored as it was reloaded."""
    restoration: Restoration
    seconds: dict[str, float]
    """prune (or loading from the cache), capture, restore, and total, evaluation and export included."""
    export: Path

    @property
    def gain(self) -> Difference:
        """Restored minus pruned, paired."""
        return paired_difference(self.losses["restored"], self.losses["pruned"])

    @property
    def recovered_share(self) -> float:
        """Of the lost log-likelihood, 0 to 1."""
        return recovered_share(*(perplexity(self.losses[name]) for name in ("dense", "pruned", "restored")))

    def to_json(self) -> dict[str, Any]:
        """Plain figures; perplexities with standard errors and token counts."""
        return {
            **{name: perplexity(self.losses[name]).figures() for name in STATES},
            "recovered_share": self.recovered_share,
            "gain": {"nats": self.gain.nats, "stderr": self.gain.stderr},
            "sparsity": {name: report.sparsity for name, report in self.sparsity.items()},
            "trained_parameters": self.restoration.trained_parameters,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "export": str(self.export),
        }


def walk(
    export: Path,
    pruning: Pruning = DEFAULT,
    source: str = sources.DEMO,
    settings: Settings | None = None,
    loading: Loading | None = None,
    replace: bool = False,
) -> Generator[Progress, None, Walked]:
    """Run it; yields progress. Raises whatever the engine's parts raise."""
    began = time.perf_counter()
    seconds: dict[str, float] = {}
    dense, tokenizer = demo_dense(loading)
    tokens = yield from calibration_tokens(source, dense, tokenizer, most=WINDOWS)
    training, held_out = split_held_out(tokens)

    started = time.perf_counter()
    pair = yield from demo_pair(dense, tokenizer, tokens, pruning, source, loading)
    seconds["prune"] = time.perf_counter() - started

    started = time.perf_counter()
    lost = components((yield from capture(pair, tokens)))
    seconds["capture"] = time.perf_counter() - started

    evaluation = windows(sources.read(sources.DEMO, "evaluation"), tokenizer, tokens.ids.shape[1])
    losses = {"dense": (yield from measure(dense, evaluation)), "pruned": (yield from measure(pair.pruned, evaluation))}
    all_of_it = everything(lost.shape)
    plain = injected(lost, all_of_it.mask())
    losses["injected"] = yield from measure(pair.pruned, evaluation, within=lambda: compensated(pair.pruned, plain))

    started = time.perf_counter()
    trainer = Training(pair, lost, all_of_it, training, held_out, settings)
    for step in trainer.steps():
        yield Progress(f"restoring, step {step.step}", step.step, trainer.settings.steps)
    restoration = trainer.result()
    seconds["restore"] = time.perf_counter() - started

    losses["restored"] = yield from measure(
        pair.pruned, evaluation, within=lambda: compensated(pair.pruned, restoration.compensation)
    )
    share = recovered_share(*(perplexity(losses[name]) for name in ("dense", "pruned", "restored")))
    about = {
        "dense": "the embedded model of RestoreLCC Studio",
        "calibration": {"source": source, "windows": len(training), "length": tokens.ids.shape[1]},
        "settings": asdict(trainer.settings),
        "trained_parameters": restoration.trained_parameters,
        "figures": {name: perplexity(loss).figures() for name, loss in losses.items()} | {"recovered_share": share},
        "evaluation": "stories that come with RestoreLCC Studio, held out from all training",
    }
    save_checkpoint(export, pair.pruned, tokenizer, restoration.compensation, replace, about)
    # Stock Transformers, nothing of ours: what a user of the export will see.
    reloaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(export, dtype="auto")
    nn.Module.to(reloaded, dense.device)  # in place; Transformers types its own `to` for other uses
    losses["reloaded"] = yield from measure(reloaded, evaluation)
    seconds["total"] = time.perf_counter() - began
    sparsity = {"pruned": measure_sparsity(pair.pruned), "restored": measure_sparsity(reloaded)}
    return Walked(losses, sparsity, restoration, seconds, export)
