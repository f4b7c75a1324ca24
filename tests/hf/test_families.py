"""Every family in the engine's table, the whole way."""

import re
from pathlib import Path

import pytest
import torch
from conftest import make_tokens
from families import check_captured, logits_with, make_family
from transformers import AutoModelForCausalLM

from restorelcc.artifacts.export import save_checkpoint
from restorelcc.capture.components import components
from restorelcc.capture.passage import attention_weights
from restorelcc.capture.statistics import capture
from restorelcc.compensation.constants import Constants, injected
from restorelcc.errors import UnsupportedModel
from restorelcc.hf.families import FAMILIES, families_table
from restorelcc.hf.layout import decoder_layers, geometry, remarks
from restorelcc.hf.twins import layer_inputs
from restorelcc.hf.weights import prunable
from restorelcc.models.pair import paired
from restorelcc.progress import finish
from restorelcc.pruning.inputs import forward
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything

every_family = pytest.mark.parametrize("model_type", FAMILIES)


@every_family
def test_the_whole_way(model_type, tokenizer, tmp_path):
    dense, tokens = make_family(model_type), make_tokens(texts=8)
    before = {name: value.clone() for name, value in dense.state_dict().items()}
    pruned = finish(prune(dense, tokens, Pruning("wanda", 0.5), "test"))
    check_pruned(before, pruned)

    pair = paired(dense, pruned, tokenizer, "dense", "pruned")
    statistics = finish(capture(pair, tokens))
    lost = components(statistics)
    check_captured(statistics, pair, tokens)
    mean = injected(lost, torch.ones(lost.shape))
    torch.testing.assert_close(mean.vectors, statistics.mean.float(), rtol=1e-4, atol=1e-5)

    settings = Settings(steps=4, batch=8, lr=0.05, evaluate_every=4)
    training = Training(pair, lost, everything(lost.shape), tokens, tokens, settings)
    first, *_, last = training.steps()
    assert last.held_out_loss < first.held_out_loss
    restored = Constants(training.parameters.compensation().vectors.detach())
    hooked = logits_with(pruned, restored, tokens.ids)
    assert not torch.allclose(hooked, pruned(tokens.ids).logits, atol=1e-3)

    if FAMILIES[model_type].export == "adapter":
        with pytest.raises(UnsupportedModel, match="load_restored"):
            save_checkpoint(tmp_path / "restored", pruned, tokenizer, restored)
        assert not (tmp_path / "restored").exists()
    else:
        save_checkpoint(tmp_path / "restored", pruned, tokenizer, restored)
        again = AutoModelForCausalLM.from_pretrained(tmp_path / "restored")
        assert (type(again) is type(pruned)) == (FAMILIES[model_type].export == "bias")
        torch.testing.assert_close(again(tokens.ids).logits, hooked, rtol=1e-4, atol=1e-4)
        assert again.config.pruning == pruned.config.pruning
    assert all(torch.equal(value, before[name]) for name, value in dense.state_dict().items())


def check_pruned(before, pruned):
    """Half of every row of every matrix inside the decoder layers is gone; routers and all else are as they were."""
    for layer in decoder_layers(pruned):
        for name, matrix in prunable(layer).items():
            zeros = (matrix.weight == 0).sum(-1)
            assert (zeros == round(matrix.weight.shape[1] / 2)).all(), name
    for name, value in pruned.state_dict().items():
        inside = re.search(r"\.(layers|h)\.\d+\.", name) and not re.search(r"router|mlp\.gate\.|bias", name)
        assert torch.equal(value, before[name]) != bool(inside and value.ndim > 1), name


@every_family
def test_layers_called_by_hand_compute_what_the_model_does(model_type):
    model, ids = make_family(model_type), make_tokens().ids
    seen = []
    hook = decoder_layers(model)[-1].register_forward_hook(lambda _, args, out: seen.append(out))
    with torch.no_grad():
        model(ids)
    hook.remove()
    hidden, arguments = layer_inputs(model, ids)
    for layer, others in zip(decoder_layers(model), arguments, strict=True):
        hidden = forward(layer, hidden, others)
    torch.testing.assert_close(hidden, seen[0][0] if isinstance(seen[0], tuple) else seen[0])


@every_family
def test_heads_are_where_they_are_said_to_be(model_type):
    """A head that is silenced at the projection's input is gone from the output, and no other is."""
    model = make_family(model_type)
    shape = geometry(model)
    assert (shape.n_layers, shape.n_heads, shape.d_head) == (2, 4, 8)
    assert remarks(model) == []
    weights = attention_weights(model, make_tokens(texts=1).ids)
    assert weights.shape == (2, 4, 16, 16)
    sums = weights.sum(-1)
    if model_type == "gpt_oss":
        assert (sums < 1).all()
    else:
        torch.testing.assert_close(sums, torch.ones_like(sums))
    assert not weights.triu(1).any()


def test_readmes_list_is_the_table():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    between = readme.split("<!-- families -->")[1].split("<!-- /families -->")[0]
    assert between.strip() == families_table()
