"""What the Learn page computes on the embedded pair: small, and the same for everybody. No screen in here."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from restorelcc.artifacts.findings import Recipe
from restorelcc.capture.components import LostComponents
from restorelcc.compensation.constants import Constants, injected
from restorelcc.compensation.interface import Compensation, compensated, folded
from restorelcc.evaluation.losses import distillation
from restorelcc.evaluation.perplexity import Difference, Perplexity, TokenLoss, measure, paired_difference, perplexity
from restorelcc.hf.twins import copied
from restorelcc.models.pair import ModelPair
from restorelcc.progress import Progress
from restorelcc.pruning.layerwise import Pruning
from restorelcc.pruning.sparsity import measure_sparsity
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import Selection, everything, of_heads
from restorelcc.text.tokens import Tokens
from restorelcc.workspace import Workspace, open_workspace

from .jobs import Job, State, jobs
from .live import Measured, compared

SPARSITIES = ("30 %", "40 %", "50 %", "2:4", "60 %", "70 %", "80 %")
"""From the mildest to the harshest: 2:4 is 50 % with less freedom."""
PROMPT = "Tom was afraid of the dark. His mom gave him a little lamp and said,"
"""What the models are shown to continue."""
COUNTS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)
FACTORS = (0.0, 0.5, 1.0, 2.0, 4.0)
"""How many times the mean of every head is put back to compare hook and bias."""
STEPS = 30  # of the short training: about 20 s on two idle cores
EVERY = 5  # steps between held-out perplexities


# --- what the steps show of the pair itself ---------------------------------------------------------------------


@dataclass(frozen=True)
class Plane:
    """Sampled activations of one head in the plane of its two strongest components. Activation units."""

    dense: Tensor
    """[sample, 2]"""
    pruned: Tensor
    """[sample, 2]"""
    held: float
    """Share of the lost energy that lies in the plane."""
    middles: tuple[Tensor, Tensor]
    """[2] means, dense and pruned, over more samples than may be here."""


@dataclass(frozen=True)
class Facts:
    """What is shown of a pair without any model."""

    shape: tuple[int, int, int]
    """(layers, heads, components of each)"""
    parameters: int
    pruned_name: str
    relative_error: Tensor
    """[layer, head] lost share of the dense energy."""
    constant_share: Tensor
    """[layer, head] share of the lost energy that one constant can hold."""
    energy: Tensor
    """[layer, head, component] share of the lost energy, strongest first."""
    plane: Callable[[tuple[int, int]], Plane]
    """Of a head."""

    @property
    def plainest(self) -> tuple[int, int]:
        """The head whose mean is easiest to see."""
        layer, head = divmod(int(self.constant_share.argmax()), self.shape[1])
        return layer, head


def facts(workspace: Workspace) -> Facts:
    """Of a pair that is open."""
    findings, lost = workspace.findings, workspace.lost
    return Facts(
        shape=lost.shape,
        parameters=findings.dense_size.parameters,
        pruned_name=findings.pruned_name,
        relative_error=workspace.loss.relative_error,
        constant_share=constant_share(workspace),
        energy=lost.energy,
        plane=partial(plane, workspace),
    )


# --- step 1: pruned more, or less -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Damage:
    """What one sparsity does to the embedded model."""

    relative_error: Tensor
    """[layer, head] share of the dense energy lost."""
    dense: Perplexity
    pruned: Perplexity
    lost: Difference
    """Pruned minus dense on the live set, paired."""
    sparsity: float
    """Share of the decoder's weights that are zero."""


def damage(workspace: Workspace) -> Damage:
    """What pruning did to a pair that is open, read off its findings."""
    findings = workspace.findings
    return Damage(
        workspace.loss.relative_error,
        perplexity(findings.live_dense),
        perplexity(findings.live_pruned),
        paired_difference(findings.live_pruned, findings.live_dense),
        findings.sparsity.sparsity,
    )


def recipe_at(label: str) -> Recipe:
    """The embedded pair at one of `SPARSITIES`; the usual recipe where that is what is asked for."""
    pruning = Pruning("wanda", pattern=label) if ":" in label else Pruning("wanda", int(label.rstrip(" %")) / 100)
    usual = Recipe()
    # Fewer windows choose nearly the same weights, and a slider should not take half a minute.
    return usual if pruning == usual.pruning else Recipe(pruning=pruning, windows=16, captured=8)


def pruning_job(label: str, owner: str) -> Job:
    """The job that prunes the embedded model to one of `SPARSITIES`, done or under way; its result is a Damage.

    Not put among the open pairs: those are few, and a lesson must not push out a pair that somebody works with.
    Findings of the embedded pair are kept on disk, so a second time takes a fraction of a second.
    """
    recipe = recipe_at(label)

    def work(job: Job) -> Generator[Progress, None, Damage]:
        return damage((yield from open_workspace(recipe)))

    key = ("learn-prune", recipe)
    known = jobs.find(key)
    if known is not None and known.state not in (State.CANCELLED, State.FAILED):
        return known
    return jobs.submit(f"Pruning to {label}", owner, recipe.loading.resolved_device(), work, key)


# --- step 2: the lost activation in a plane ---------------------------------------------------------------------


def plane(workspace: Workspace, head: tuple[int, int]) -> Plane:
    """Not the plane of PCA: that one is of the spread about the mean, and may miss the mean itself."""
    samples, axes = workspace.findings.statistics.samples, workspace.lost.directions[head][:2].T
    dense, lost = samples.dense[head].double(), samples.lost[head].double()
    points = dense @ axes, (dense - lost) @ axes
    middles = points[0].mean(0), points[1].mean(0)
    return Plane(*points, float(workspace.lost.energy[head][:2].sum()), middles)


# --- step 4: how much a constant can hold -----------------------------------------------------------------------


def constant_share(workspace: Workspace) -> Tensor:
    """[layer, head] ‖E δz‖² / E‖δz‖²: share of the lost energy that one constant can hold, 0 to 1."""
    statistics = workspace.findings.statistics
    energy = statistics.lost_energy
    mean = statistics.mean.square().sum(-1)
    return torch.where(energy > 0, mean / energy.clamp(min=torch.finfo(energy.dtype).tiny), 0.0)


def counts(components: int) -> list[int]:
    """How many of the first components are put back, to choose from."""
    return [count for count in COUNTS if count < components] + [components]


def first_components(shape: tuple[int, int, int], scope: str, head: tuple[int, int], count: int) -> Selection:
    """Components 1 … count of 'head' (the one given), of 'shallow' (the first two layers), or of 'all' heads."""
    if count == 0:
        return Selection(shape, frozenset())
    layers = {"head": 0, "shallow": min(2, shape[0]), "all": shape[0]}[scope]
    heads = [head] if scope == "head" else [(layer, one) for layer in range(layers) for one in range(shape[1])]
    return of_heads(shape, heads, count)


# --- step 5: training, for real and short -----------------------------------------------------------------------


@dataclass(frozen=True)
class Lesson:
    """A short training."""

    steps: tuple[int, ...]
    held_out: tuple[float, ...]
    """Perplexity of held-out calibration windows at those steps."""
    dense: float
    """The dense model's perplexity on them."""
    measured: Measured
    """Of the result, on the live set: text that neither was trained on."""
    distance: tuple[float, float]
    """KL from the dense model's next-token distribution on the live set, before and after; nats per token."""
    closer: Difference
    """After minus before, paired by window."""


def training_key(recipe: Recipe, loss: str) -> tuple[str, Recipe, str]:
    """The key of the job that trains against this teacher."""
    return ("learn-train", recipe, loss)


def training_job(workspace: Workspace, loss: str, owner: str) -> Job:
    """The job that trains constants of all heads for `STEPS` steps; its result is a Lesson."""

    def work(job: Job) -> Generator[Progress, None, Lesson]:
        return (yield from _lesson(workspace, loss))

    title = "Training against the dense model" if loss == "kl" else "Training on the text"
    device = workspace.recipe.loading.resolved_device()
    return jobs.submit(title, owner, device, work, training_key(workspace.recipe, loss))


def _lesson(workspace: Workspace, loss: str) -> Generator[Progress, None, Lesson]:
    pair, findings = (yield from workspace.loading()), workspace.findings
    dense = yield from measure(pair.dense, workspace.held_out)
    training = Training(
        pair,
        workspace.lost,
        everything(workspace.lost.shape).within(workspace.lost.present),
        workspace.training,
        workspace.held_out,
        Settings(loss=loss, steps=STEPS, evaluate_every=EVERY),
    )
    points = []
    for step in training.steps():
        if step.held_out is not None:
            points.append((step.step, step.held_out.value))
        yield Progress(f"step {step.step} of {STEPS}", step.step, STEPS)
    back = training.result().compensation
    picked = yield from measure(pair.pruned, findings.live, within=lambda: compensated(pair.pruned, back))
    steps, held_out = zip(*points, strict=True)
    before = yield from divergence(pair, findings.live, Constants.none(pair.geometry))
    after = yield from divergence(pair, findings.live, back)
    return Lesson(
        steps=tuple(steps),
        held_out=tuple(held_out),
        dense=perplexity(dense).value,
        measured=compared(findings.live_dense, findings.live_pruned, picked),
        distance=(perplexity(before).nats, perplexity(after).nats),
        closer=paired_difference(after, before),
    )


def divergence(pair: ModelPair, tokens: Tokens, back: Compensation) -> Generator[Progress, None, TokenLoss]:
    """KL(dense ‖ pruned with `back`) of the next-token distribution; the mean of each window at all its tokens."""
    loss = torch.zeros(tokens.ids.shape, dtype=torch.float64)
    for text in range(len(tokens)):
        yield Progress("measuring the distance to the dense model", text, len(tokens))
        window = tokens[text : text + 1]
        ids, scored = window.ids.to(pair.pruned.device), window.scored.to(pair.pruned.device)
        with torch.no_grad(), compensated(pair.pruned, back):
            logits = pair.pruned(ids, use_cache=False).logits
            teacher = pair.dense(ids.to(pair.dense.device), use_cache=False).logits.to(logits.device)
            if bool(scored[:, 1:].any()):
                loss[text] = float(distillation(logits, teacher, scored)) * window.scored[0]
    return TokenLoss(loss, tokens.scored)


# --- step 6: hooked against merged ------------------------------------------------------------------------------


@dataclass(frozen=True)
class MergeCheck:
    """The same constants, added by a hook and folded into biases."""

    plain: Tensor
    """[vocabulary] float32: next-token logits of the pruned model after the passage."""
    hooked: Tensor
    """[vocabulary] float32: with c added to every head's activation."""
    folded: Tensor
    """[vocabulary] float32: with W_O c in the bias instead."""
    change: float
    """Largest |hooked − plain| over all positions and tokens of the vocabulary."""
    difference: float
    """Largest |hooked − folded| likewise, in float32."""
    stored_difference: float
    """The same in the precision that the model is stored in."""
    stored: str
    """That precision."""
    zeros: tuple[int, int]
    """Zero weights before and after folding."""
    weights: int
    """Weights of the decoder's matrices."""
    bias_numbers: int
    """Numbers in the biases that carry it all."""


def check_merge(pair: ModelPair, lost: LostComponents, factor: float, ids: Tensor) -> MergeCheck:
    """Compare on `ids` [pos]; every head gets factor · E δz. The pair is left as it is."""
    back = injected(lost, torch.full(lost.shape, factor, dtype=torch.float64))
    exact = copied(pair.pruned).float()  # The stored precision would round both ways differently.

    @torch.no_grad()
    def both(model: torch.nn.Module) -> tuple[Tensor, Tensor]:
        row = ids[None].to(pair.pruned.device)
        twin = folded(model, back)  # type: ignore[arg-type]
        with compensated(model, back):  # type: ignore[arg-type]
            hooked = model(row, use_cache=False).logits[0].float().cpu()
        return hooked, twin(row, use_cache=False).logits[0].float().cpu()

    hooked, merged = both(exact)
    stored_hooked, stored_merged = both(pair.pruned)
    with torch.no_grad():
        plain = exact(ids[None].to(pair.pruned.device), use_cache=False).logits[0].float().cpu()
    before, after = (measure_sparsity(model) for model in (pair.pruned, folded(pair.pruned, back)))
    return MergeCheck(
        plain=plain[-1],
        hooked=hooked[-1],
        folded=merged[-1],
        change=float((hooked - plain).abs().max()),
        difference=float((hooked - merged).abs().max()),
        stored_difference=float((stored_hooked - stored_merged).abs().max()),
        stored=str(pair.pruned.dtype).removeprefix("torch."),
        zeros=(before.zeros, after.zeros),
        weights=before.weights,
        bias_numbers=pair.geometry.n_layers * pair.geometry.d_model,
    )
