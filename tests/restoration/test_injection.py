"""Layer after layer: each is measured with those below put back."""

import torch

from restorelcc.capture.statistics import HeadStatistics, capture
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.models.pair import ModelPair
from restorelcc.progress import finish
from restorelcc.restoration.injection import capture_in_order
from restorelcc.text.tokens import Tokens


def test_the_first_layer_is_as_ever_and_each_other_sees_those_below_restored(
    pair: ModelPair, tokens: Tokens, statistics: HeadStatistics
):
    found = finish(capture_in_order(pair, tokens, samples=1000))
    assert torch.equal(found.mean[0], statistics.mean[0])
    assert torch.equal(found.samples.lost[0], statistics.samples.lost[0])
    for layer in (1, 2):
        vectors = torch.zeros(3, 4, 8)
        vectors[:layer] = found.mean[:layer].float()
        with compensated(pair.pruned, Constants(vectors)):
            plain = finish(capture(pair, tokens, samples=1000))
        for name in ("mean", "second_moment", "written_loss"):
            torch.testing.assert_close(getattr(found, name)[layer], getattr(plain, name)[layer])
        torch.testing.assert_close(found.samples.lost[layer], plain.samples.lost[layer])
        assert not torch.allclose(found.mean[layer], statistics.mean[layer], atol=1e-4)


def test_the_result_is_what_its_own_injection_is_measured_against(pair: ModelPair, tokens: Tokens):
    """With all of it put back, every layer is found to have lost what the result says, for its own constant comes after
    the place where a head is read."""
    found = finish(capture_in_order(pair, tokens))
    with compensated(pair.pruned, Constants(found.mean.float())):
        left = finish(capture(pair, tokens)).mean
    torch.testing.assert_close(left, found.mean, rtol=1e-3, atol=1e-5)
