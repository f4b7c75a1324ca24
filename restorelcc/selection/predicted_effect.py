"""What putting something back will do to the loss, predicted for every head and component from one backward pass.

A constant c added to a head changes the mean loss by about g·c + ½ c·F c. The slope g = ∂loss/∂c is the gradient at
c = 0. The curvature F is the Fisher information of the head's constant, estimated from gradients m of the mean NLL of
single texts, which one backward pass gives too: with tokens about independent, E[γγᵀ] of token gradients γ is
T Cov(m) + E[m] E[m]ᵀ for texts of T tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from ..capture.components import LostComponents
from ..compensation.interface import Change
from ..compensation.recompute import recomputed
from ..errors import SettingError
from ..evaluation.losses import cross_entropy, distillation
from ..evaluation.perplexity import Difference, at_once
from ..hf.layout import device_of, geometry, hooked, output_projections
from ..hf.overflow import check_finite
from ..hf.weights import is_spread, weight_of
from ..models.pair import ModelPair
from ..processes import from_all, turns
from ..progress import Progress, finish
from ..text.tokens import Tokens
from .greedy import in_turn
from .joint_effect import Along, together
from .scores import ScoreInputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Against = Literal["ce", "kl"]
DAMPING = 1.0
"""λ, in units of a head's mean curvature: as much is added along every direction as there is on average, so that steps
are short where these texts had little to say."""
LONGEST = 10.0
"""Peak rate, in r*. Later steps turn where the first overshoots, so several r* do well: at 3 to 9, what is best on
embedded pairs and on SmolLM2-135M, the held-out loss falls from the first measurement on; there it rose at 35."""
SLOPES = "slopes"
"""Under which those of the loss are among the results, where they were found before anything was scored."""
MOST_TOKENS = 33_000
"""That a prediction for the scores looks at; more would say little that these do not."""


@dataclass(frozen=True)
class Slopes:
    """Gradients of the loss by every head's constant, text by text. float32."""

    by_text: Tensor
    """[text, layer, head, d_head] ∂(summed loss of the text)/∂c, nats per activation unit."""
    likelihood: Tensor
    """The same of the text's summed NLL: by_text itself where that is the loss. Its spread is the curvature of either
    loss: that of a distance between distributions is their Fisher information too, and its own slopes say less of it,
    since they do not vary with the token that happened to come."""
    counts: Tensor
    """[text] scored tokens."""


def slopes(
    pair: ModelPair, tokens: Tokens, against: Against = "ce", batch: int = 8
) -> Generator[Progress, None, Slopes]:
    """One forward and backward pass of the pruned model over `tokens`, yielding after every batch.

    against: ce, the text's own tokens; kl, the dense model's next-token distribution, which costs its forward pass
    and another backward pass. Raises SettingError.
    """
    rows, batch = [], at_once(pair.pruned, tokens, batch)
    for start in turns(range(0, len(tokens), batch)):
        yield Progress("differentiating by every head", start, len(tokens))
        rows.append(_batch_slopes(pair, tokens[start : start + batch], against))
    yield Progress("differentiating by every head", len(tokens), len(tokens))
    rows = from_all(rows)
    if not rows:
        raise SettingError("There are no tokens to differentiate on.")
    likelihood = torch.cat([own for own, _ in rows])
    by_text = torch.cat([towards for _, towards in rows]) if against == "kl" else likelihood
    return Slopes(by_text, likelihood, tokens.scored.sum(1))


def _batch_slopes(pair: ModelPair, tokens: Tokens, against: Against) -> tuple[Tensor, Tensor]:
    """[text, layer, head, d_head] gradients of each text's summed NLL, and of what is asked for."""
    model, shape = pair.pruned, pair.geometry
    projections = output_projections(model)
    ids, scored = tokens.ids.to(device_of(model)), tokens.scored.to(device_of(model))
    count = scored[:, 1:].sum()
    # One bias a text instead of one for all: its gradient is then the text's own.
    added = [torch.zeros(len(ids), 1, shape.d_model, device=device_of(model), requires_grad=True) for _ in projections]

    def by_heads(loss: Tensor, again: bool) -> Tensor:
        rows = []
        written = torch.autograd.grad(loss * count, added, retain_graph=again)
        for layer, (one, projection) in enumerate(zip(written, projections, strict=True)):
            # A constant reaches the residual stream through W_O, so its gradient comes back through W_Oᵀ.
            own = geometry(model).split(one[:, 0] @ weight_of(projection).float()).transpose(0, 1).cpu()
            # A head that is gone moves nothing, so its slope is zero.
            rows.append(pair.placed(layer, own, torch.zeros(shape.n_heads, len(ids), shape.d_head)))
        gradients = torch.stack(rows).permute(2, 0, 1, 3)
        check_finite(gradients, model, tokens.ids, "its gradients")
        return gradients

    with torch.enable_grad():
        logits = _with_added(model, ids, added)
        likelihood = by_heads(cross_entropy(logits, ids, scored), again=against == "kl")
        if against == "ce":
            return likelihood, likelihood
        with torch.no_grad():
            teacher = pair.dense(ids.to(device_of(pair.dense)), use_cache=False).logits.to(logits.device)
        return likelihood, by_heads(distillation(logits, teacher, scored), again=False)


def _with_added(model: PreTrainedModel, ids: Tensor, added: list[Tensor]) -> Tensor:
    """Logits, with biases that ask for gradients. The way back holds the weights of one layer, where they are on
    disk."""
    projections = output_projections(model)
    if not is_spread(model):
        with hooked(projections, lambda layer, _, output: output + added[layer].to(output)):
            logits: Tensor = model(ids, use_cache=False).logits
        return logits

    def adding(bias: Tensor) -> Change:
        return lambda _, output: output + bias.to(output)

    changes = [(projection, adding(bias)) for projection, bias in zip(projections, added, strict=True)]
    logits = recomputed(model, changes)(ids, use_cache=False).logits
    return logits


@dataclass(frozen=True)
class PredictedEffect:
    """Changes of the mean loss, nats per token; negative is better. float32."""

    gradient: Tensor
    """[layer, head, d_head] g, nats per activation unit."""
    constants: Tensor
    """[layer, head, d_head] the best constant of every head on its own, activation units: −(F + λ)⁻¹ g."""
    of_head: Tensor
    """[layer, head] change with that constant."""
    of_head_error: Tensor
    """[layer, head] its standard error, with texts as the sample."""
    in_turn: Tensor
    """[layer, head] change still to be won when the head's turn comes, if heads are taken by what they do together (see
    `greedy`). float64."""
    slope: Tensor
    """[layer, head, component] along v_i, nats per activation unit."""
    curvature: Tensor
    """[layer, head, component] along v_i, nats per squared activation unit, λ included."""
    best: Tensor
    """[layer, head, component] β*, the best magnitude of each component on its own, activation units."""
    of_component: Tensor
    """[layer, head, component] change with it."""
    of_component_error: Tensor
    """[layer, head, component] its standard error, with texts as the sample."""
    slopes: Slopes
    """What it is predicted from."""

    @property
    def gradient_norm(self) -> Tensor:
        """[layer, head] ‖g‖, nats per activation unit."""
        norms: Tensor = torch.linalg.vector_norm(self.gradient, dim=-1)
        return norms

    def at(self, magnitudes: Tensor) -> Tensor:
        """[layer, head, component] change where each component alone is put back with this magnitude."""
        return self.slope * magnitudes + self.curvature * magnitudes.square() / 2

    def together(self, constants: Tensor) -> Difference:
        """Change where all these constants [layer, head, d_head] are put back (see `joint_effect`)."""
        return together(self.slopes, constants)

    def along(self, components: LostComponents) -> Along:
        """What to choose components by that do most together."""
        factors = _fisher_factors(self.slopes)
        return Along(self.gradient, factors, _floor(factors, DAMPING), components)


def predicted(gradients: Slopes, components: LostComponents, damping: float = DAMPING) -> PredictedEffect:
    """Of every head's best constant and of every component's best magnitude.

    damping: λ in units of the head's mean curvature; it keeps steps short along directions that hardly mattered on
    these texts. Raises SettingError for fewer than two texts, which show no curvature.
    """
    if len(gradients.counts) < 2:
        raise SettingError("One text shows no curvature: give at least 2, better 50, or shorter windows.")
    gradient, factors = gradients.by_text.sum(0) / gradients.counts.sum(), _fisher_factors(gradients)
    fisher = torch.einsum("tlhi,tlhj->lhij", factors, factors)
    floor = _floor(factors, damping)
    damped = fisher + floor[..., None, None] * torch.eye(fisher.shape[-1])
    constants = -torch.linalg.solve(damped, gradient)
    of_head = (gradient * constants).sum(-1) / 2  # = g·s + ½ s·(F + λ) s at the best s
    directions = components.directions.float()
    slope = torch.einsum("lhd,lhid->lhi", gradient, directions)
    curvature = torch.einsum("lhid,lhde,lhie->lhi", directions, damped, directions)
    best = -slope / curvature
    # The step is taken as given: what errs is the slope along it.
    by_token = gradients.by_text / gradients.counts.view(-1, 1, 1, 1)
    errs = _covariance(by_token - gradient) / len(gradients.counts)
    of_head_error = torch.einsum("lhi,lhij,lhj->lh", constants, errs, constants).sqrt()
    along = torch.einsum("lhid,lhde,lhie->lhi", directions, errs, directions).sqrt()
    return PredictedEffect(
        gradient=gradient,
        constants=constants,
        of_head=of_head,
        of_head_error=of_head_error,
        in_turn=in_turn(gradient, factors, floor),
        slope=slope,
        curvature=curvature,
        best=best,
        of_component=slope * best / 2,
        of_component_error=along * best.abs(),
        slopes=gradients,
    )


def _floor(factors: Tensor, damping: float) -> Tensor:
    """[layer, head] λ from [factor, layer, head, d_head] of the curvature."""
    floor = damping * factors.square().sum(0).mean(-1)
    # A head whose output goes nowhere has no gradient and no curvature; 1 keeps the system solvable, and its answer 0.
    return torch.where(floor > 0, floor, 1.0)


def _fisher_factors(gradients: Slopes) -> Tensor:
    """[factor, layer, head, d_head] x with F = Σ x xᵀ: a factor a text, for its spread about the mean, and the mean."""
    mean = gradients.likelihood.sum(0) / gradients.counts.sum()
    # Lengths differ little, so texts weigh alike in what is taken about the mean over texts.
    weight = (gradients.counts.float().mean() / (len(gradients.counts) - 1)).sqrt()
    by_token = gradients.likelihood / gradients.counts.view(-1, 1, 1, 1)
    return torch.cat([weight * (by_token - mean), mean[None]])


def longest_rate(pair: ModelPair, tokens: Tokens, against: Against, step: Callable[[Tensor], Tensor]) -> float:
    """The longest peak rate of a training by Adam that does not overshoot.

    Adam's first step moves every number by the rate, whatever its gradient, so how far they move the model together
    grows with how many there are: a rate that fits 64 heads is too long for 270. Along that step s the loss is about
    L + r g·s + ½ r² s·F s at rate r, lowest at r* = −g·s / s·F s. step: from the gradient of the loss by every head's
    constant [layer, head, d_head], nats per activation unit, to what the first step at a rate of 1 adds to the
    constants. Infinite where the loss does not curve along it, or does not fall.
    """
    gradients = finish(slopes(pair, tokens, against))
    counts = gradients.counts.view(-1, 1, 1, 1)
    own, likelihood = gradients.by_text / counts, gradients.likelihood / counts
    gradient = own.mean(0)
    direction = step(gradient)
    along = (likelihood * direction).flatten(1).sum(1)
    length = float(gradients.counts.float().mean())
    curvature = length * float(along.var()) + float(along.mean()) ** 2
    slope = -float((gradient * direction).sum())
    return LONGEST * slope / curvature if slope > 0 and curvature > 0 else float("inf")


def on_loss(inputs: ScoreInputs) -> Generator[Progress, None, PredictedEffect]:
    """Of every head and component on the loss of the training text."""
    return predicted((yield from slopes_of(inputs)), inputs.lost)


def slopes_of(inputs: ScoreInputs, batch: int = 8) -> Generator[Progress, None, Slopes]:
    """Of the loss on the training text, as far as it is worth reading; those among the results, where they are. They
    foretell any picks (see `joint_effect`)."""
    found: Slopes | None = inputs.results.get(SLOPES)
    return (yield from slopes(inputs.pair, _some(inputs.training), "ce", batch)) if found is None else found


def on_distance(inputs: ScoreInputs) -> Generator[Progress, None, PredictedEffect]:
    """Of every head and component on the distance to the dense model on the training text."""
    return predicted((yield from slopes(inputs.pair, _some(inputs.training), "kl")), inputs.lost)


def _some(tokens: Tokens) -> Tokens:
    """The first texts, up to as many tokens as are worth reading."""
    return tokens[: max(2, MOST_TOKENS // tokens.ids.shape[1])]


def _covariance(spread: Tensor) -> Tensor:
    """[layer, head, d_head, d_head] of deviations [text, layer, head, d_head] from the mean."""
    covariance: Tensor = torch.einsum("tlhi,tlhj->lhij", spread, spread) / (len(spread) - 1)
    return covariance
