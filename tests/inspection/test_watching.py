"""What is seen of attention as it computes is what it computes, in every family."""

import pytest
import torch
from families import make_family

from restorelcc.capture.passage import attention_weights
from restorelcc.capture.statistics import head_activations
from restorelcc.hf.families import FAMILIES
from restorelcc.hf.layout import geometry
from restorelcc.hf.twins import watching_attention


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_times_values_are_what_heads_give(family, tokens):
    model, seen = make_family(family), []
    watched = watching_attention(model, lambda layer, attended: seen.append((layer, attended.weigh() @ attended.value)))
    with torch.no_grad():
        watched(tokens.ids)
    z, _ = head_activations(model, tokens.ids)
    assert [layer for layer, _ in seen] == list(range(len(z)))
    for own, (_, computed) in zip(z, seen, strict=True):
        torch.testing.assert_close(computed.transpose(1, 2), geometry(model).split(own), rtol=1e-4, atol=1e-5)
    weights = []
    watching_attention(model, lambda _, attended: weights.append(attended.weigh()))(tokens.ids[:1])
    torch.testing.assert_close(torch.cat(weights), attention_weights(model, tokens.ids[:1]))
