"""The one file that knows where Hugging Face keeps things."""

import threading

import torch
from conftest import make_model, make_tokens

from restorelcc.hf.layout import decoder_layers, geometry, hooked, output_projections
from restorelcc.hf.twins import copied, layer_inputs
from restorelcc.hf.weights import prunable


def test_geometry_under_grouped_queries_and_a_free_head_width():
    shape = geometry(make_model())
    assert (shape.n_layers, shape.n_heads, shape.n_kv_heads, shape.d_head, shape.d_model) == (3, 4, 2, 8, 24)
    parts = shape.split(torch.arange(32.0).view(1, 32))
    assert parts.shape == (1, 4, 8)
    assert parts[0, 1, 0] == 8


def test_every_linear_map_of_a_layer_may_be_pruned():
    layer = decoder_layers(make_model())[0]
    assert set(prunable(layer)) == {
        *(f"self_attn.{name}_proj" for name in "qkvo"),
        *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
    }


def test_layers_called_by_hand_compute_what_the_model_does():
    model, ids = make_model(), make_tokens().ids
    hidden, arguments = layer_inputs(model, ids)
    for layer, others in zip(decoder_layers(model), arguments, strict=True):
        hidden = layer(hidden, **others)
    logits = model.lm_head(model.model.norm(hidden))
    torch.testing.assert_close(logits, model(ids).logits)


def test_hooks_fire_in_their_own_thread_alone():
    model, ids = make_model(), make_tokens().ids
    fired = []
    with hooked(output_projections(model), lambda index, *_: fired.append(index)):
        thread = threading.Thread(target=model, args=(ids,))
        thread.start()
        thread.join()
        assert fired == []
        model(ids)
    assert fired == [0, 1, 2]
    model(ids)
    assert fired == [0, 1, 2]


def test_a_copy_carries_nobodys_hooks():
    model, ids = make_model(), make_tokens().ids
    expected = model(ids).logits
    with hooked(output_projections(model), lambda _index, _inputs, output: output * 2):
        twin = copied(model)
        assert torch.equal(twin(ids).logits, expected)
        assert not torch.equal(model(ids).logits, expected)
