"""The losses against torch's own, values and gradients."""

import pytest
import torch
import torch.nn.functional as F
from conftest import make_tokens

from restorelcc.evaluation.losses import cross_entropy, distillation


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 7, 20, generator=generator).requires_grad_() for _ in range(2)]


def scored_some():
    tokens = make_tokens(3, 7, vocabulary=20)
    scored = tokens.scored.clone()
    scored[1, 4:] = False
    return tokens.ids, scored


def test_distillation_is_kl_divergence(logits):
    ours, teacher = logits
    _, scored = scored_some()
    at = scored[:, 1:]
    expected = F.kl_div(
        ours[:, :-1][at].log_softmax(-1),
        teacher.detach()[:, :-1][at].log_softmax(-1),
        log_target=True,
        reduction="batchmean",
    )
    found = distillation(ours, teacher.detach(), scored)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, ours)[0] for loss in (found, expected)))
    assert distillation(teacher, teacher.detach(), scored).item() == pytest.approx(0, abs=1e-6)


def test_cross_entropy_is_cross_entropy(logits):
    ours, _ = logits
    ids, scored = scored_some()
    at = scored[:, 1:]
    expected = F.cross_entropy(ours[:, :-1][at], ids[:, 1:][at])
    found = cross_entropy(ours, ids, scored)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(loss, ours)[0] for loss in (found, expected)))


def test_half_precision_logits_get_a_half_precision_gradient_that_is_right(logits):
    ours, teacher = (one.detach().bfloat16().requires_grad_() for one in logits)
    _, scored = scored_some()
    (gradient,) = torch.autograd.grad(distillation(ours, teacher.detach(), scored), ours)
    wide = ours.detach().float().requires_grad_()
    (expected,) = torch.autograd.grad(distillation(wide, teacher.detach().float(), scored), wide)
    assert gradient.dtype == torch.bfloat16
    torch.testing.assert_close(gradient.float(), expected, rtol=2e-2, atol=1e-4)
