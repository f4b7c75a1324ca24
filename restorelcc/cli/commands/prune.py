"""The command `prune`: a checkpoint without some of its weights, or some of its heads."""

from __future__ import annotations

import math
from pathlib import Path

from ...artifacts.export import save_checkpoint
from ...errors import SettingError
from ...hf.layout import geometry
from ...hf.weights import parameter_bytes
from ...models.loading import Loading, load_model, load_tokenizer
from ...models.memory import check_fits
from ...progress_bar import watched
from ...pruning.layerwise import Pruning
from ...pruning.layerwise import prune as prune_model
from ...pruning.methods import narrows
from ...pruning.sparsity import measure_sparsity
from ...storage.folders import check_free
from ..console import say, show_json
from ..opening import Text, note_model


def pruning(
    method: str,
    sparsity: float | None,
    pattern: str | None,
    ratio: float | None = None,
    allocation: str = "uniform",
    default: float = 0.5,
    rounding: str = Pruning.rounding,
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
    chosen = Pruning(method, default if sparsity is None else sparsity, pattern, allocation, rounding)
    if pattern is not None and sparsity is not None and not math.isclose(chosen.sparsity, sparsity):
        raise SettingError(
            f"Pattern {pattern} means a sparsity of {chosen.sparsity:g}, not {sparsity:g}. Give one of them."
        )
    return chosen


def prune(name: str, folder: Path, chosen: Pruning, text: Text, loading: Loading, as_json: bool) -> Path:
    """Prune into a checkpoint; gives its folder."""
    check_free(folder)
    check_fits(name, loading)
    model, tokenizer = load_model(name, loading), load_tokenizer(name, loading)
    check_free(folder, round(parameter_bytes(model) * (1 - chosen.sparsity if chosen.narrows else 1)))
    note_model(model)
    tokens = text.tokens(model, tokenizer)
    sizes, heads = {"dense": model.num_parameters()}, geometry(model).n_heads
    pruned = watched(prune_model(model, tokens, chosen, text.source, spent=True))
    sizes["pruned"] = pruned.num_parameters()
    save_checkpoint(folder, pruned, tokenizer, about={"dense": name})
    report = measure_sparsity(pruned)
    if as_json:
        weights = {"sparsity": report.sparsity, "weights": report.weights, "zeros": report.zeros}
        show_json(weights | {"parameters": sizes, "out": str(folder)})
    elif chosen.narrows:
        say(
            f"{geometry(pruned).n_heads} of {heads} heads a layer and {sizes['pruned']} of "
            f"{sizes['dense']} parameters are left, in {folder}"
        )
    else:
        say(f"{report.zeros} of {report.weights} weights are zero ({report.sparsity:.2%}), in {folder}")
    return folder
