"""What two processes compute together, or one alone: `python tests/processes/together.py FOLDER`, which the first
writes; with `shard` behind it each holds half of the models in FOLDER."""

import gc
import sys
from itertools import pairwise
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

# ruff: noqa: E402
import torch
from conftest import WORDS, make_model, make_tokenizer, make_tokens, noisy

from restorelcc.capture.components import LostComponents, components
from restorelcc.capture.one_at_a_time import capture_one_at_a_time
from restorelcc.capture.statistics import MEANS, capture
from restorelcc.evaluation.comparison import side_by_side
from restorelcc.evaluation.patching import Patch, all_heads, patched
from restorelcc.evaluation.perplexity import measure
from restorelcc.hf.weights import parameter_bytes
from restorelcc.models.loading import Loading
from restorelcc.models.pair import ModelPair, load_pair, paired
from restorelcc.processes import by_the_first, from_all, processes
from restorelcc.progress import finish
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.sweep import Grid, SweepResult, sweep
from restorelcc.restoration.training import Training
from restorelcc.selection.measured_effect import of_heads, tried
from restorelcc.selection.picks import everything
from restorelcc.selection.predicted_effect import slopes
from restorelcc.selection.probing import fit_all, read_contrast_activations
from restorelcc.text.contrast import ContrastItem
from restorelcc.text.tokens import Tokens


def a_pair() -> ModelPair:
    dense = make_model()
    return paired(dense, noisy(dense), make_tokenizer(), "dense", "pruned")


def save(folder: Path) -> None:
    """The pair, for `shard`."""
    pair = a_pair()
    for name, model in (("dense", pair.dense), ("pruned", pair.pruned)):
        model.save_pretrained(folder / name)
        pair.tokenizer.save_pretrained(folder / name)


def held(pair: ModelPair) -> float:
    """Of both models' weights, the share that is in this process's memory."""
    tensors = [part for part in gc.get_objects() if isinstance(part, torch.Tensor) and not part.is_meta]
    storages = {part.untyped_storage().data_ptr(): part.untyped_storage().nbytes() for part in tensors}
    return sum(storages.values()) / sum(map(parameter_bytes, (pair.dense, pair.pruned)))


def computed(pair: ModelPair) -> dict[str, torch.Tensor]:
    """Statistics, losses, and curves of trainings of every kind and way; batches that two cannot share evenly."""
    texts, held_out = make_tokens(texts=9, seed=5), make_tokens(texts=3, seed=6)
    statistics = finish(capture(pair, texts, batch=2, samples=8))
    found = {"processes": torch.tensor(processes())}
    found |= {name: getattr(statistics, name) for name in MEANS} | {"sample": statistics.samples.pos}
    apart = finish(capture_one_at_a_time(pair, lambda: pair.dense, lambda: pair.pruned, texts, batch=2, samples=8))
    found |= {f"{name}, one model at a time": getattr(apart, name) for name in MEANS}
    found |= {"sample, one model at a time": apart.samples.lost}
    found["nll"] = finish(measure(pair.pruned, texts, batch=2)).nll
    _, beside = finish(side_by_side(pair.dense, texts, [(pair.pruned, lambda: torch.no_grad())], batch=2))
    found["kl"] = beside.kl
    lost = components(statistics)
    found["slopes"] = finish(slopes(pair, texts, "kl", batch=2)).by_text
    found |= other_scores(pair, lost, texts)
    grid = Grid.read(["1", "0.5"], ["all"], ["0.1"], ["kl"], Settings(steps=4, batch=3), ["1"])
    points = [
        each
        for each in sweep(pair, lost, lost.magnitude[..., 0], texts, held_out, grid)
        if isinstance(each, SweepResult)
    ]
    found["constants of points"] = torch.tensor([point.held_out_loss for point in points])
    for kind, way in (("constants", "whole"), ("weights", "whole"), ("weights", "both")):
        settings = Settings(kind=kind, way=way, steps=8, batch=3, evaluate_every=2)
        training = Training(pair, lost, everything(lost.shape), texts, held_out, settings)
        steps = list(training.steps())
        found[f"{kind} {way}"] = torch.tensor([step.held_out_loss for step in steps if step.held_out_loss is not None])
        found[f"{kind} {way}, training"] = torch.tensor([step.loss for step in steps[1:]])
    return found


def other_scores(pair: ModelPair, lost: LostComponents, texts: Tokens) -> dict[str, torch.Tensor]:
    """Probes, ceilings, bounds by layer, and heads put back one at a time."""
    items = [ContrastItem(f" {first}", f" {second}", f" {first} {first}") for first, second in pairwise(WORDS)]
    contrast = finish(read_contrast_activations(pair, items, batch=2))
    found = {name: getattr(contrast, name) for name in ("question", "right", "wrong")}
    found["probes"] = finish(fit_all(contrast)).accuracy
    patches = [Patch(), *(all_heads(pair.geometry, layer) for layer in range(pair.geometry.n_layers))]
    losses = finish(patched(pair, texts, patches, batch=2, distances=True))
    found |= {f"patched {index}": loss.nll for index, loss in enumerate(losses)}
    found |= {f"patched {index}, distance": loss.kl for index, loss in enumerate(losses) if loss.kl is not None}
    trials = of_heads(lost.constants(lost.magnitude))[:3]
    found["trials"] = torch.tensor([change.nats for _, change in tried(pair, texts, trials, batch=2)])
    return found


@by_the_first
def write(found: dict[str, torch.Tensor], folder: str) -> None:
    torch.save(found, Path(folder) / "found.pt")


if __name__ == "__main__":
    torch.set_num_threads(1)
    pair = load_pair(f"{sys.argv[1]}/dense", f"{sys.argv[1]}/pruned", Loading("shard")) if sys.argv[2:] else a_pair()
    share = held(pair)
    write(computed(pair) | {"held": torch.tensor(from_all([share]))}, sys.argv[1])
