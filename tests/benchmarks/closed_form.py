"""What a closed-form fit of the output projections does: to what it is fitted on, and to the model.

    python tests/benchmarks/closed_form.py [--out assets/demo/closed_form.json]

Of every layer the least-squares map from what its heads compute in the pruned model to what attention writes in the
dense one (ridge, from moments over the calibration text), in place of W_O: with every zero kept (masked) or not, for
all layers from the pruned model's activations (at once), or each from a model with those below in place (in order). The
squared error is of the calibration windows held out of the fit, as a share of what the dense model writes; what it does
to the model is measured on the evaluation text and on a second one. `ridge` is a share of the moments' mean diagonal.
"""

import argparse
import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import Tensor

from restorelcc.artifacts.findings import Recipe
from restorelcc.capture.statistics import head_activations
from restorelcc.evaluation.comparison import compare, side_by_side
from restorelcc.hf.layout import output_projections
from restorelcc.hf.twins import with_weights
from restorelcc.hf.weights import weight_of
from restorelcc.progress import finish
from restorelcc.text.calibration import evaluation_tokens
from restorelcc.text.tokens import Tokens
from restorelcc.workspace import open_workspace

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FITS = {"masked": (True, False), "free": (False, False), "masked, in order": (True, True)}
"""(zeros kept, each layer with those below in place) by name."""


def moments(dense: "PreTrainedModel", pruned: "PreTrainedModel", tokens: Tokens) -> list[tuple[Tensor, Tensor, Tensor]]:
    """By layer, sums over tokens: [input, input] of z_p z_pᵀ, [input, output] of z_p yᵀ, and of ‖y‖²; y is what the
    dense model's attention writes."""
    sums: list[tuple[Tensor, Tensor, Tensor]] = []
    for rows in torch.arange(len(tokens)).split(8):
        some = tokens[rows]
        theirs, (_, written) = head_activations(pruned, some.ids)[0], head_activations(dense, some.ids)
        for layer, (z, y) in enumerate(zip(theirs, written, strict=True)):
            z, y = z[some.real].double(), y[some.real].double()
            new = z.T @ z, z.T @ y, y.square().sum()
            sums[layer : layer + 1] = [new if layer == len(sums) else tuple(map(torch.add, sums[layer], new))]  # type: ignore[list-item]
    return sums


def fitted(found: tuple[Tensor, Tensor, Tensor], weight: Tensor, masked: bool, ridge: float) -> Tensor:
    """[output, input] the fit; masked: zero where `weight` is."""
    inputs = found[0] + ridge * found[0].diagonal().mean() * torch.eye(len(found[0]), dtype=torch.float64)
    if not masked:
        return torch.linalg.solve(inputs, found[1]).T
    new = torch.zeros(weight.shape, dtype=torch.float64)
    for output, keep in enumerate(weight != 0):
        new[output, keep] = torch.linalg.solve(inputs[keep][:, keep], found[1][keep, output])
    return new


def error(found: list[tuple[Tensor, Tensor, Tensor]], weights: list[Tensor]) -> float:
    """Squared error as a share of what the dense model's attention writes; the mean over layers."""
    shares = []
    for (inputs, cross, energy), weight in zip(found, weights, strict=True):
        maps = weight.double().T
        shares.append(float(1 + ((inputs @ maps * maps).sum() - 2 * (cross * maps).sum()) / energy))
    return sum(shares) / len(shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ridge", type=float, default=1e-3)
    parser.add_argument("--out", type=Path, help="JSON that the Learn page shows: assets/demo/closed_form.json")
    args = parser.parse_args()
    workspace = finish(open_workspace(Recipe()))
    pair = workspace.pair()
    length = workspace.training.ids.shape[1]
    elsewhere = evaluation_tokens(Recipe.elsewhere, pair.dense, pair.tokenizer, length)
    texts = {"there": workspace.findings.evaluation, "elsewhere": elsewhere}
    places = {id(module): name for name, module in pair.pruned.named_modules()}
    names = [places[id(module)] for module in output_projections(pair.pruned)]
    plain = [weight_of(module).detach() for module in output_projections(pair.pruned)]
    once, held_out = (moments(pair.dense, pair.pruned, text) for text in (workspace.training, workspace.held_out))
    facts: dict[str, Any] = {"pair": "The embedded pair, Wanda 60 %", "ridge": args.ridge, "fits": {}}
    facts |= {"tokens": workspace.findings.evaluation.count, "fitted_on": workspace.training.count}
    facts |= {"error": round(error(held_out, plain), 4)}
    for name, (masked, in_order) in FITS.items():
        model, weights = pair.pruned, []
        for layer, place in enumerate(names):
            found = moments(pair.dense, model, workspace.training) if in_order and layer else once
            weights.append(fitted(found[layer], plain[layer], masked, args.ridge))
            if in_order:
                model = with_weights(model, {place: weights[-1].to(plain[layer].dtype)})
        weights = [weight.to(own.dtype) for weight, own in zip(weights, plain, strict=True)]
        model = with_weights(pair.pruned, dict(zip(names, weights, strict=True)))
        seen = moments(pair.dense, model, workspace.held_out) if in_order else held_out
        row: dict[str, Any] = {"error": round(error(seen, weights), 4)}
        for kind, text in texts.items():
            losses = finish(side_by_side(pair.dense, text, [(pair.pruned, nullcontext), (model, nullcontext)]))
            outcome = compare(*losses)
            row[kind] = {what: [round(share.value, 4), round(share.stderr, 4)]
                         for what, share in (("share", outcome.recovered), ("nearer", outcome.nearer))}  # fmt: skip
            row[kind]["perplexity"] = [round(one.value, 3) for one in (outcome.dense, outcome.pruned, outcome.restored)]
        facts["fits"][name] = row
        print(f"{name}: error {facts['error']} -> {row}", flush=True)
    if args.out is not None:
        args.out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
