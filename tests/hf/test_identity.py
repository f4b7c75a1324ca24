"""An adapter goes onto the model that it was made for, however that is loaded, and onto no other."""

import copy
import json

import pytest
import torch
from commands import answer, call
from conftest import make_model, noisy
from families import make_family, random_compensation
from transformers import AutoModelForCausalLM

from restorelcc.artifacts.export import adapter_fits, fingerprint, load_adapter, made_for, save_adapter
from restorelcc.artifacts.runs import list_runs
from restorelcc.errors import LoadError
from restorelcc.hf.families import FAMILIES
from restorelcc.hf.identity import settings, weights_digest


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_model_is_itself_however_it_is_loaded(model_type, tmp_path):
    model = make_family(model_type)
    model.config.pruning = {"method": "wanda"}
    model.save_pretrained(tmp_path)
    for dtype in ("auto", torch.float32, torch.bfloat16):
        loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype)
        assert made_for(loaded) == made_for(model)
    # As JSON has it, which is how an adapter keeps it.
    assert json.loads(json.dumps(made_for(model))) == made_for(model)


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "gemma2", "qwen3_moe", "gpt_oss", "opt"])
def test_a_change_of_any_weight_is_another_model(model_type):
    model = make_family(model_type)
    before = weights_digest(model)
    for name, parameter in model.named_parameters():
        kept = parameter.clone()
        parameter += 0.05 * kept.abs().mean() * torch.randn(kept.shape, generator=torch.Generator().manual_seed(0))
        assert weights_digest(model) != before, name
        parameter.copy_(kept)
        assert weights_digest(model) == before


@pytest.fixture
def adapter(pair, tmp_path):
    """(folder of an adapter made for the pair's pruned model, that adapter)."""
    about = {"pruned": "ours", **made_for(pair.pruned)}
    save_adapter(tmp_path / "adapter", random_compensation(pair.pruned), pair.geometry, about)
    return load_adapter(tmp_path / "adapter")


def with_other_mlps(model):
    """Attention to the last bit the same."""
    twin = copy.deepcopy(model)
    for layer in twin.model.layers:
        layer.mlp.down_proj.weight[torch.rand(layer.mlp.down_proj.weight.shape) < 0.5] = 0
    return twin


def test_a_model_of_the_same_attention_and_other_mlps_is_refused(pair, adapter):
    adapter_fits(adapter, pair.pruned)
    adapter_fits(adapter, noisy(make_model()).bfloat16())
    other = with_other_mlps(pair.pruned)
    assert fingerprint(other) == fingerprint(pair.pruned)
    with pytest.raises(LoadError, match=r"another model of this shape \(ours\): weights differ beside"):
        adapter_fits(adapter, other)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rms_norm_eps": 1e-3}, r"rms_norm_eps was 1e-06 there, and is 0\.001 here"),
        ({"hidden_act": "gelu"}, "hidden_act was silu there, and is gelu here"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}, "rope_parameters was .*10000"),
        ({"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}}, "rope_parameters was"),
    ],
)
def test_the_same_weights_with_another_setting_are_refused(pair, adapter, changes, says):
    twin = make_model(**changes)
    twin.load_state_dict(pair.pruned.state_dict())
    with pytest.raises(LoadError, match=says):
        adapter_fits(adapter, twin)


def test_what_only_training_or_saving_looks_at_is_no_difference(pair, adapter):
    twin = copy.deepcopy(pair.pruned)
    twin.config.attention_dropout, twin.config.use_cache, twin.config.pruning = 0.1, False, {"method": "other"}
    twin.config.rope_parameters = {**twin.config.rope_parameters, "rope_theta": 10000}  # JSON may drop the .0
    adapter_fits(adapter, twin)
    settings_there = adapter.about["made_for"]["settings"]
    settings_there["a_rope_setting_of_a_later_version"] = 7
    adapter_fits(adapter, twin)
    assert "a_rope_setting_of_a_later_version" not in settings(twin)


def test_adapters_made_before_are_held_to_what_they_know(pair, tmp_path):
    about = {"pruned": "ours", "fingerprint": fingerprint(pair.pruned)}
    save_adapter(tmp_path / "adapter", random_compensation(pair.pruned), pair.geometry, about)
    old = load_adapter(tmp_path / "adapter")
    adapter_fits(old, pair.pruned)
    adapter_fits(old, with_other_mlps(pair.pruned))  # attention alone was looked at
    with pytest.raises(LoadError, match="output projections differ"):
        adapter_fits(old, pair.dense)
    old.about["made_for"] = "damaged"
    adapter_fits(old, pair.pruned)


def test_the_command_gives_no_number_of_a_model_that_an_adapter_is_not_for(pair, folders, pair_args, text, tmp_path):
    answer("restore", *pair_args, "--steps", 2, "--out", tmp_path / "adapter")
    with_other_mlps(pair.pruned).save_pretrained(tmp_path / "other")
    pair.tokenizer.save_pretrained(tmp_path / "other")
    options = ["--text", text, "--length", 16, "--adapter", tmp_path / "adapter"]
    assert answer("evaluate", folders[1], *options)["tokens"]
    refused = call("evaluate", tmp_path / "other", *options)
    assert refused.exit_code == 2
    assert "made for another model of this shape" in refused.stderr
    assert refused.stderr.count("\n") == 1
    (run,) = list_runs()
    with pytest.raises(LoadError, match="weights differ"):
        adapter_fits(run.adapter(), with_other_mlps(pair.pruned))
