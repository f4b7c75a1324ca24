"""Logistic regressions of many heads at once, each on pairs of rows that share half of their features.

A pair is a question with a right and a wrong response; its rows are [question ; right] → 1 and [question ; wrong] → 0.
Per head the objective is scikit-learn's `LogisticRegression` at its defaults, on standardised features:

    ½‖w‖² + Σ_rows ln(1 + exp(−y (w · x + b))),   y = ±1, the bias b free

minimised by conjugate gradients (Hestenes and Stiefel 1952) for all heads in step. They are taken in the metric of the
Hessian at w = 0, I + ¼ XᵀX, which bounds the Hessian everywhere (Böhning 1992) and costs one factorisation a head:
activations are so ill-conditioned that without it there are twenty times as many steps. What is written out row by row
in the features above is never built: the question's half is read once for both rows of a pair.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Largest entry of the mean gradient at which a head is done; scikit-learn stops at 1e-4.
TOLERANCE = 1e-5
MOST_STEPS = 200  # real activations take about ten, responses that a line parts without a remainder up to a hundred
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
        """What standardises `features` [head, row, feature]."""
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


def fit_probes(question: Tensor, right: Tensor, wrong: Tensor) -> Probes:
    """Fit one probe a head to pairs: three tensors [head, pair, feature], float32, on one device.

    Works on two standardised copies: 3 × heads × pairs × features × 4 bytes.
    """
    width = question.shape[-1]
    both = torch.cat([right, wrong], dim=1)
    question_scale, response_scale = Scale.of(question), Scale.of(both)
    weights = _minimised(_Objective(question_scale(question), response_scale(both)))
    return Probes(weights[:, :width], weights[:, width:-1], weights[:, -1:], question_scale, response_scale)


class _Objective:
    """The objective of every head, for features that are standardised already. Weights w are [head, weight]: those of
    the question's half, of the response's, and the bias; margins [head, row], right responses first."""

    def __init__(self, q: Tensor, r: Tensor) -> None:
        """q: [head, pair, feature]; r: the right responses and then the wrong, [head, 2 pair, feature]."""
        self.q, self.r, (_, self.pairs, self.width) = q, r, q.shape
        self.target = (torch.arange(2 * self.pairs, device=q.device) < self.pairs).to(q)  # [row]
        self.ridge = torch.ones(2 * self.width + 1, device=q.device)
        self.ridge[-1] = 0
        self._metric = _bound(q, r)

    def margins(self, w: Tensor) -> Tensor:
        """[head, row] w · x + b."""
        shared = _forward(self.q, w[:, : self.width]) + w[:, -1:]
        return _forward(self.r, w[:, self.width : -1]) + shared.repeat(1, 2)

    def gradient(self, w: Tensor, margin: Tensor) -> Tensor:
        """[head, weight] at w, whose margins are known."""
        miss = margin.sigmoid() - self.target
        shared = miss[:, : self.pairs] + miss[:, self.pairs :]
        parts = [_backward(shared, self.q), _backward(miss, self.r), miss.sum(1, keepdim=True)]
        return torch.cat(parts, dim=1) + self.ridge * w

    def preconditioned(self, g: Tensor) -> Tensor:
        """[head, weight] the inverse Hessian at w = 0 times g."""
        # Features are centred, so at w = 0 the bias is apart from the weights; its curvature is ¼ a row.
        weights = torch.cholesky_solve(g[:, :-1, None], self._metric)[..., 0]
        return torch.cat([weights, g[:, -1:] * (2 / self.pairs)], dim=1)


def _minimised(objective: _Objective) -> Tensor:
    """[head, weight] at which the objective of every head is least."""
    w = torch.zeros(len(objective.q), 2 * objective.width + 1, device=objective.q.device)
    margin = torch.zeros_like(objective.r[..., 0])  # at w = 0
    g = objective.gradient(w, margin)
    direction = -objective.preconditioned(g)
    for _ in range(MOST_STEPS):
        working = g.abs().amax(1, keepdim=True) > TOLERANCE * 2 * objective.pairs
        if not working.any():
            break
        # A head that is done stands still while others go on: rounding would be all that moved it.
        direction = direction * working
        slope = objective.margins(direction)
        inner, square = (_dot(objective.ridge * one, direction) for one in (w, direction))
        size = _along(margin, slope, objective.target, inner, square)
        w = w + size * direction
        margin = margin + size * slope
        before, g = g, objective.gradient(w, margin)
        change, descent = g - before, objective.preconditioned(g)
        bend = _dot(direction, change)
        turn = torch.where(bend > 0, _dot(descent, change) / bend, 0.0).clamp(min=0)
        direction = turn * direction - descent
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
    """[head, 1] scalar products, head by head."""
    return (a * b).sum(1, keepdim=True)
