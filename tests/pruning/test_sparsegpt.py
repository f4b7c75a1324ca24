"""SparseGPT against the paper's rule computed slowly: every Hessian inverted anew, every weight on its own."""

import pytest
import torch
from conftest import make_model, make_tokens

from restorelcc.hf.weights import prunable
from restorelcc.progress import finish
from restorelcc.pruning.hessian import DAMPING, inverse_factor
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.pruning.sparsegpt import pruned
from restorelcc.pruning.sparsity import Pattern, named


def problem(outputs=6, inputs=40, tokens=300, seed=0):
    """(weight [output, input], inputs [token, input], their Hessian): inputs that depend on each other."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(inputs, inputs, generator=generator)
    x = torch.randn(tokens, inputs, generator=generator) @ mixed
    return torch.randn(outputs, inputs, generator=generator), x, 2 * x.T @ x / tokens


def damped(hessian):
    hessian = hessian.double()
    return hessian + torch.eye(len(hessian), dtype=torch.float64) * DAMPING * hessian.diagonal().mean()


def by_hand(weight, hessian, block, drop_of):
    """Left to right; drop_of(weights, [H⁻¹]_jj) gives the mask of a block of columns when it is reached."""
    left, hessian = weight.double().clone(), damped(hessian)
    mask = torch.zeros_like(left, dtype=torch.bool)
    for j in range(left.shape[1]):
        if j % block == 0:
            columns = range(j, min(j + block, left.shape[1]))
            scales = torch.stack([hessian[k:, k:].inverse()[0, 0] for k in columns])
            mask[:, columns.start : columns.stop] = drop_of(left[:, columns.start : columns.stop], scales)
        inverse = hessian[j:, j:].inverse()
        for i in range(left.shape[0]):
            if mask[i, j]:
                left[i, j:] -= left[i, j] / inverse[0, 0] * inverse[0]
    return left.masked_fill(mask, 0)


def share(sparsity):
    def drop(weights, scales):
        scores = (weights**2 / scales).flatten()
        mask = torch.zeros(len(scores), dtype=torch.bool)
        mask[sorted(range(len(scores)), key=lambda i: float(scores[i]))[: round(len(scores) * sparsity)]] = True
        return mask.view_as(weights)

    return drop


def groups_of(pattern):
    def drop(weights, scales):
        mask = torch.zeros_like(weights, dtype=torch.bool)
        for row, line in zip(mask, weights**2 / scales, strict=True):
            row[line.argsort()[: pattern.m - pattern.n]] = True
        return mask

    return drop


@pytest.mark.parametrize("sparsity", [0.3, 0.7])
@pytest.mark.parametrize("inputs", [40, 150])
def test_unstructured_is_the_papers_rule(sparsity, inputs):
    """150 inputs are two blocks: the second is chosen after the first has moved it."""
    weight, _, hessian = problem(outputs=4, inputs=inputs, tokens=900)
    expected = by_hand(weight, hessian, 128, share(sparsity))
    torch.testing.assert_close(pruned(weight, hessian, sparsity, None).double(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("text", "inputs"), [("2:4", 136), ("4:8", 136), ("3:5", 135)])
def test_patterns_are_the_papers_rule(text, inputs):
    pattern = Pattern.parse(text)
    weight, _, hessian = problem(outputs=3, inputs=inputs, tokens=900)
    expected = by_hand(weight, hessian, pattern.m, groups_of(pattern))
    found = pruned(weight, hessian, pattern.sparsity, pattern)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-4)
    assert ((found != 0).unflatten(1, (-1, pattern.m)).sum(-1) == pattern.n).all()


def test_the_factor_holds_the_inverse_of_what_is_left():
    _, _, hessian = problem()
    factor = inverse_factor(hessian).double()
    torch.testing.assert_close(factor.T @ factor, damped(hessian).inverse(), rtol=1e-3, atol=1e-5)
    for j in (0, 7, 39):
        inverse = damped(hessian)[j:, j:].inverse()
        torch.testing.assert_close(factor[j, j:] * factor[j, j], inverse[0], rtol=1e-3, atol=1e-6)


def test_what_stays_makes_up_for_what_goes():
    weight, x, hessian = problem()
    found = pruned(weight, hessian, 0.5, None)
    masked = weight.masked_fill(found == 0, 0)
    error, plain = ((x @ (weight - other).T).square().sum() for other in (found, masked))
    assert error < 0.8 * plain


def test_an_input_that_never_fires_goes_before_others_of_its_size_and_moves_nothing():
    weight, x, _ = problem(inputs=40)
    weight = weight.sign()
    x[:, 10:20] = 0
    hessian = 2 * x.T @ x / len(x)
    found = pruned(weight, hessian, 0.25, None)
    assert (found[:, 10:20] == 0).all()
    alive = torch.arange(40).lt(10) | torch.arange(40).ge(20)
    assert torch.equal(found[:, alive], weight[:, alive])
    assert int((found == 0).sum()) == 60


def test_without_any_input_weights_go_by_size():
    weight, _, _ = problem()
    found = pruned(weight, torch.zeros(40, 40), 0.5, None)
    assert weight[found == 0].abs().max() <= weight[found != 0].abs().min()
    assert torch.equal(found[found != 0], weight[found != 0])


@pytest.mark.parametrize("pattern", [None, "2:4"])
def test_layer_by_layer(pattern):
    """The Hessian of a layer is of what the pruned layers below it compute, by its own unpruned matrices."""
    tokens, dense = make_tokens(texts=6, length=10), make_model()
    choice = Pruning("sparsegpt", 0.5, pattern)
    result = finish(prune(dense, tokens, choice, batch=4))
    for layer in range(3):
        so_far = make_model()
        below = tuple(f"model.layers.{index}." for index in range(layer))
        state = {name: value for name, value in result.state_dict().items() if name.startswith(below)}
        so_far.load_state_dict({**dense.state_dict(), **state})
        for name in prunable(so_far.model.layers[layer]):
            seen = []
            matrix = so_far.model.layers[layer].get_submodule(name)
            with_hook = matrix.register_forward_pre_hook(lambda _, args: seen.append(args[0].flatten(0, 1)))  # noqa: B023
            so_far(tokens.ids)
            with_hook.remove()
            hessian = 2 * seen[0].T @ seen[0] / len(seen[0])
            expected = pruned(matrix.weight, hessian, 0.5, pattern and Pattern.parse(pattern))
            found = result.model.layers[layer].get_submodule(name).weight
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
            assert pattern is None or named(found) == pattern
