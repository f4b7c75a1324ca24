"""Logistic regressions of many heads at once, each on pairs of rows that share half of their features.

A pair is a question with a right and a wrong response; its rows are [question ; right] → 1 and [question ; wrong] → 0.
Per head the objective is scikit-learn's `LogisticRegression` at its defaults, on standardised features:

    ½‖w‖² + Σ_rows ln(1 + exp(−y (w · x + b))),   y = ±1, the bias b free

minimised by L-BFGS (Nocedal 1980) for all heads in step. Its first metric is the Hessian at w = 0, I + ¼ XᵀX, which
bounds the Hessian everywhere (Böhning 1992) and costs one factorisation a head: activations are so ill-conditioned that
plain L-BFGS takes ten times as many steps. What is written out row by row in the features above is never built:
the question's half is read once for both rows of a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# Largest entry of the mean gradient at which a head is done; scikit-learn stops at 1e-4.
TOLERANCE = 1e-5
MOST_STEPS = 200
MEMORY = 10  # steps that L-BFGS remembers
NEWTON_STEPS = 3  # along the line, where a step costs no product with the features
TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class Scale:
    """What standardises one half of the features: over training rows, mean 0 and standard deviation 1."""

    mean: Tensor
    """[head, 1, feature]."""
    deviation: Tensor
    """[head, 1, feature]; 1 where a feature never varies."""

    @classmethod
    def of(cls, features: Tensor) -> Scale:
        """features: [head, row, feature]."""
        mean = features.mean(1, keepdim=True)
        # Not torch.std, which over rows is many times slower than these passes.
        deviation = (features - mean).square_().mean(1, keepdim=True).sqrt_()
        return cls(mean, torch.where(deviation > 0, deviation, 1.0))

    def __call__(self, features: Tensor) -> Tensor:
        """Standardised [head, row, feature]."""
        return (features - self.mean).div_(self.deviation)


@dataclass(frozen=True)
class Probes:
    """One linear + sigmoid probe a head. float32."""

    question: Tensor
    """[head, feature] weights of the standardised question half."""
    response: Tensor
    """[head, feature] weights of the standardised response half."""
    bias: Tensor
    """[head, 1]."""
    question_scale: Scale
    response_scale: Scale

    def margins(self, question: Tensor, response: Tensor) -> Tensor:
        """[head, row] w · x + b for rows [head, row, feature] of both halves; above 0 the probe says 'right'."""
        shared = _forward(self.question_scale(question), self.question) + self.bias
        return shared + _forward(self.response_scale(response), self.response)


def fit_probes(question: Tensor, right: Tensor, wrong: Tensor, tolerance: float = TOLERANCE) -> Probes:
    """Fit one probe a head to pairs: three tensors [head, pair, feature], float32, on one device.

    tolerance: largest entry of the mean gradient at which a head is done, or after 200 steps.
    Works on two standardised copies: 3 × heads × pairs × features × 4 bytes.
    """
    width = question.shape[-1]
    both = torch.cat([right, wrong], dim=1)
    question_scale, response_scale = Scale.of(question), Scale.of(both)
    weights = _minimised(question_scale(question), response_scale(both), tolerance)
    return Probes(weights[:, :width], weights[:, width:-1], weights[:, -1:], question_scale, response_scale)


def _minimised(q: Tensor, r: Tensor, tolerance: float) -> Tensor:
    """[head, feature of both halves + 1]: weights and bias for q [head, pair, feature] and r, the right responses and
    then the wrong, [head, 2 pair, feature]."""
    heads, pairs, width = q.shape
    target = (torch.arange(2 * pairs, device=q.device) < pairs).to(q)  # [row]
    ridge = torch.ones(2 * width + 1, device=q.device)
    ridge[-1] = 0
    metric = _bound(q, r)

    def precondition(v: Tensor) -> Tensor:
        # Features are centred, so at w = 0 the bias is apart from the weights; its curvature is ¼ a row.
        return torch.cat([torch.cholesky_solve(v[:, :-1, None], metric)[..., 0], v[:, -1:] * (2 / pairs)], dim=1)

    def forward(w: Tensor) -> Tensor:
        shared = _forward(q, w[:, :width]) + w[:, -1:]
        return _forward(r, w[:, width:-1]) + shared.repeat(1, 2)

    def gradient(w: Tensor, margin: Tensor) -> Tensor:
        miss = margin.sigmoid() - target
        shared = miss[:, :pairs] + miss[:, pairs:]
        parts = [_backward(shared, q), _backward(miss, r), miss.sum(1, keepdim=True)]
        return torch.cat(parts, dim=1) + ridge * w

    w = torch.zeros(heads, 2 * width + 1, device=q.device)
    margin = torch.zeros(heads, 2 * pairs, device=q.device)
    g = gradient(w, margin)
    history: list[tuple[Tensor, Tensor, Tensor]] = []
    for _ in range(MOST_STEPS):
        working = g.abs().amax(1, keepdim=True) > tolerance * 2 * pairs
        if not working.any():
            break
        # A head that is done stands still while others go on: rounding would be all that moved it.
        direction = -_two_loops(g, history, precondition) * working
        slope = forward(direction)
        size = _along(margin, slope, target, _dot(ridge * w, direction), _dot(ridge * direction, direction))
        step = size * direction
        w = w + step
        margin = margin + size * slope
        before, g = g, gradient(w, margin)
        change = g - before
        bend = _dot(step, change)
        history = [*history, (step, change, torch.where(bend > 0, 1 / bend, 0.0))][-MEMORY:]
    return w


def _along(margin: Tensor, slope: Tensor, target: Tensor, inner: Tensor, square: Tensor) -> Tensor:
    """[head, 1] how far to go along a direction d in which margins change by `slope` [head, row]; inner = w · d and
    square = ‖d‖² of the ridge.

    Newton's method on the line, held back so that it never passes the minimum: the curvature of a logistic loss cannot
    grow faster than e^(R·step) with R = max |slope| (Bach 2010, self-concordance), which bounds the safe step.
    """
    steepest = slope.abs().amax(1, keepdim=True).clamp(min=TINY)
    size = torch.zeros_like(inner)
    for _ in range(NEWTON_STEPS):
        chance = (margin + size * slope).sigmoid_()
        first = _dot(chance - target, slope) + inner + size * square
        second = _dot((chance * (1 - chance)).mul_(slope), slope) + square
        newton = -first / second.clamp(min=TINY)
        size = size + newton.sign() * torch.log1p(steepest * newton.abs()) / steepest
    return size


def _two_loops(
    g: Tensor, history: list[tuple[Tensor, Tensor, Tensor]], precondition: Callable[[Tensor], Tensor]
) -> Tensor:
    """L-BFGS's approximate inverse Hessian times g [head, weight]; history: (step, change of gradient, inverse of
    their product, 0 where a head stood still)."""
    shares = []
    for step, change, inverse in reversed(history):
        share = inverse * _dot(step, g)
        shares.append(share)
        g = g - share * change
    v = precondition(g)
    for (step, change, inverse), share in zip(history, reversed(shares), strict=True):
        v = v + step * (share - inverse * _dot(change, v))
    return v


def _bound(q: Tensor, r: Tensor) -> Tensor:
    """[head, 2 feature, 2 feature] lower Cholesky factor of I + ¼ XᵀX, X the standardised rows of both halves."""
    pairs, width = q.shape[1:]
    bound = torch.empty(len(q), 2 * width, 2 * width, device=q.device)
    cross = q.mT @ (r[:, :pairs] + r[:, pairs:]) / 4
    bound[:, :width, :width] = q.mT @ q / 2
    bound[:, width:, width:] = r.mT @ r / 4
    bound[:, :width, width:] = cross
    bound[:, width:, :width] = cross.mT
    bound.diagonal(dim1=1, dim2=2).add_(1)
    factor: Tensor = torch.linalg.cholesky(bound)
    return factor


# As vector-matrix products: a batch of matrices times one column each takes a path several times slower on CPUs.
def _forward(x: Tensor, w: Tensor) -> Tensor:
    """[head, row]: x [head, row, feature] times w [head, feature]."""
    return (w[:, None] @ x.mT)[:, 0]


def _backward(v: Tensor, x: Tensor) -> Tensor:
    """[head, feature]: the rows of x [head, row, feature] summed with weights v [head, row]."""
    return (v[:, None] @ x)[:, 0]


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """[head, 1]."""
    return (a * b).sum(1, keepdim=True)
