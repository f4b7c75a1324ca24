"""The whole way on the embedded pair: prune, capture, put back, train, export, and read the export back."""

import time
from collections.abc import Generator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedModel

from ..artifacts.export import save_checkpoint
from ..capture.components import components
from ..capture.statistics import capture
from ..compensation.constants import injected
from ..compensation.interface import Compensation, compensated
from ..evaluation.comparison import Comparison, compare, side_by_side
from ..evaluation.perplexity import Difference, TokenLoss, measure, perplexity
from ..models.loading import Loading
from ..models.pair import ModelPair
from ..progress import Progress
from ..pruning.layerwise import Pruning
from ..pruning.sparsity import SparsityReport, measure_sparsity
from ..restoration.settings import Settings
from ..restoration.training import Restoration, prepared
from ..selection.picks import everything
from ..text import sources
from ..text.calibration import calibration_tokens, split_held_out
from ..text.tokens import Tokens, windows
from .pair import DEFAULT, demo_dense, demo_pair

T = TypeVar("T")
# More would be better, and sampling and pruning would take longer: the demo is to be over within three minutes.
WINDOWS = 96
STATES = ("dense", "pruned", "injected", "restored", "reloaded")


@dataclass(frozen=True)
class Walked:
    """What was measured on the way, all on the same evaluation text, which nothing was calibrated or trained on."""

    losses: dict[str, TokenLoss]
    """dense; pruned; injected: the mean lost activation of every head put back, without training; restored: trained;
    reloaded: the exported checkpoint as stock Transformers loads it."""
    sparsity: dict[str, SparsityReport]
    """pruned, and restored as it was reloaded."""
    restoration: Restoration
    seconds: dict[str, float]
    """prune (or loading from the cache), capture, restore, and total, evaluation and export included."""
    export: Path

    elsewhere: Comparison
    """On the second embedded text, which is of another kind than what was calibrated and trained on."""

    @property
    def gain(self) -> Difference:
        """Restored minus pruned, paired."""
        return self.compared().gain

    @property
    def recovered_share(self) -> float:
        """Of the lost log-likelihood, 0 to 1."""
        return self.compared().recovered.value

    def compared(self, state: str = "restored") -> Comparison:
        """Dense, pruned, and a state of `losses`, on the evaluation text."""
        return compare(*(self.losses[name] for name in ("dense", "pruned", state)))

    def to_json(self) -> dict[str, Any]:
        """Plain figures; perplexities with standard errors and token counts."""
        return {
            **{name: perplexity(self.losses[name]).figures() for name in STATES},
            **self.compared().figures(),
            "elsewhere": {"text": sources.EVERYDAY} | self.elsewhere.figures(),
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
    """The whole way: from the embedded model to a checkpoint in `export`, measured at every stage; yields progress.

    Raises whatever the engine's parts raise.
    """
    began, seconds = time.perf_counter(), dict[str, float]()
    dense, tokenizer = demo_dense(loading)
    tokens = yield from calibration_tokens(source, dense, tokenizer, most=WINDOWS)
    training, held_out = split_held_out(tokens)
    pair = yield from _timed("prune", seconds, demo_pair(dense, tokenizer, tokens, pruning, source, loading))
    lost = components((yield from _timed("capture", seconds, capture(pair, tokens))))
    everywhere = everything(lost.shape)
    trainer = yield from prepared(pair, lost, everywhere, training, held_out, settings)
    restoration = yield from _timed("restore", seconds, trainer.run())

    evaluation = windows(sources.read(sources.DEMO, "evaluation"), tokenizer, tokens.ids.shape[1])
    put_back = {"injected": injected(lost, everywhere.mask()), "restored": restoration.compensation}
    losses = yield from _measured(pair, evaluation, put_back)
    everyday = windows(sources.read(sources.EVERYDAY), tokenizer, tokens.ids.shape[1])
    elsewhere = yield from _measured(pair, everyday, {"restored": restoration.compensation})
    there = compare(*elsewhere.values())
    about = {
        "dense": "the embedded model of RestoreLCC Studio",
        "calibration": {"source": source, "windows": len(training), "length": tokens.ids.shape[1]},
        "settings": asdict(trainer.settings),
        "trained_parameters": restoration.trained_parameters,
        "figures": _figures(losses) | {"elsewhere": {"text": sources.EVERYDAY} | there.figures()},
        "evaluation": "stories that come with RestoreLCC Studio, held out from all training",
    }
    save_checkpoint(export, pair.pruned, tokenizer, restoration.compensation, replace, about)
    # Stock Transformers, nothing of ours: what a user of the export will see.
    reloaded: PreTrainedModel = AutoModelForCausalLM.from_pretrained(export, dtype="auto")  # a folder  # nosec B615
    nn.Module.to(reloaded, dense.device)  # in place; Transformers types its own `to` for other uses
    losses["reloaded"] = yield from measure(reloaded, evaluation)
    seconds["total"] = time.perf_counter() - began
    sparsity = {"pruned": measure_sparsity(pair.pruned), "restored": measure_sparsity(reloaded)}
    return Walked(losses, sparsity, restoration, seconds, export, there)


def _timed(name: str, seconds: dict[str, float], work: Generator[Progress, None, T]) -> Generator[Progress, None, T]:
    """`work`, and how long it took among `seconds`."""
    started = time.perf_counter()
    result = yield from work
    seconds[name] = time.perf_counter() - started
    return result


def _measured(
    pair: ModelPair, tokens: Tokens, put_back: Mapping[str, Compensation]
) -> Generator[Progress, None, dict[str, TokenLoss]]:
    """Loss of the dense model, of the pruned one, and of that with each compensation in place."""
    others = [(pair.pruned, partial(compensated, pair.pruned, compensation)) for compensation in put_back.values()]
    losses = yield from side_by_side(pair.dense, tokens, [(pair.pruned, nullcontext), *others])
    return dict(zip(("dense", "pruned", *put_back), losses, strict=True))


def _figures(losses: Mapping[str, TokenLoss]) -> dict[str, Any]:
    """Perplexities and shares, as a model card takes them."""
    states = {name: perplexity(loss).figures() for name, loss in losses.items()}
    return states | compare(*(losses[name] for name in ("dense", "pruned", "restored"))).figures()
