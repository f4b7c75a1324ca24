"""Loading: what is right is loaded, what is wrong is refused with a message that says what to do."""

import json

import pytest
import torch
from conftest import WORDS, make_model, make_tokenizer
from safetensors.torch import load_file, save_file

from restorelcc.errors import LoadError, PairMismatch, SettingError, UnsupportedModel
from restorelcc.hf.layout import HeadGeometry, geometry
from restorelcc.models.loading import Loading, load_model, load_tokenizer, source_of
from restorelcc.models.pair import load_pair, paired


def test_a_pair_is_loaded_as_it_was_stored(pair, folders, tokens):
    loaded = load_pair(*map(str, folders))
    assert loaded.geometry == HeadGeometry(n_layers=3, n_heads=4, n_kv_heads=2, d_head=8, d_model=24)
    assert torch.equal(loaded.pruned(tokens.ids).logits, pair.pruned(tokens.ids).logits)
    assert not loaded.dense.training
    assert not any(parameter.requires_grad for parameter in loaded.dense.parameters())
    assert loaded.tokenizer("the dog").input_ids == pair.tokenizer("the dog").input_ids


def test_precision_is_kept_unless_asked_otherwise(tmp_path):
    make_model().bfloat16().save_pretrained(tmp_path / "bf16")
    make_model().half().save_pretrained(tmp_path / "fp16")
    assert load_model(str(tmp_path / "bf16")).dtype == torch.bfloat16
    assert load_model(str(tmp_path / "bf16"), Loading(dtype="float32")).dtype == torch.float32
    # A CPU is slow in float16 and overflows: there it becomes float32.
    assert load_model(str(tmp_path / "fp16"), Loading(device="cpu")).dtype == torch.float32


def test_missing_things_are_named(tmp_path):
    with pytest.raises(LoadError, match="There is no folder"):
        load_model(str(tmp_path / "nowhere"))
    (tmp_path / "file").touch()
    with pytest.raises(LoadError, match="is a file"):
        load_model(str(tmp_path / "file"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(LoadError, match=r"no config\.json"):
        load_model(str(tmp_path / "empty"))
    with pytest.raises(LoadError, match="hub id such as"):
        load_model("just-a-word")
    with pytest.raises(LoadError, match="hub cannot be reached"):
        load_model("someone/something")
    with pytest.raises(LoadError, match="hub cannot be reached"):
        load_tokenizer("someone/something")


def test_the_embedded_model_has_a_name():
    assert source_of("demo").endswith("dense")


def test_a_truncated_file_is_damaged(folders):
    weights = folders[0] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(LoadError, match="damaged"):
        load_model(str(folders[0]))


def test_a_config_that_is_no_json_is_refused(folders):
    (folders[0] / "config.json").write_text("{")
    with pytest.raises(LoadError, match="cannot be loaded"):
        load_model(str(folders[0]))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(folders, value):
    path = folders[0] / "model.safetensors"
    state = load_file(path)
    state["model.layers.1.mlp.up_proj.weight"][3, 4] = value
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(LoadError, match=r"layers\.1\.mlp\.up_proj"):
        load_model(str(folders[0]))


def test_missing_weights_are_refused_not_made_up(folders):
    path = folders[0] / "model.safetensors"
    state = load_file(path)
    del state["model.layers.2.self_attn.o_proj.weight"]
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(LoadError, match=r"lacks 1 weights.*o_proj"):
        load_model(str(folders[0]))


def test_pickles_only_when_asked(folders):
    path = folders[0] / "model.safetensors"
    torch.save(load_file(path), folders[0] / "pytorch_model.bin")
    path.unlink()
    with pytest.raises(LoadError, match="pickle can run any code"):
        load_model(str(folders[0]))
    assert geometry(load_model(str(folders[0]), Loading(allow_pickle=True))).n_layers == 3


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"num_attention_heads": 2}, "n_heads 4 against 2"),
        ({"num_hidden_layers": 2}, "n_layers 3 against 2"),
        ({"head_dim": 4}, "d_head 8 against 4"),
        ({"num_key_value_heads": 4}, "n_kv_heads 2 against 4"),
        ({"vocab_size": 50}, "vocabulary"),
    ],
)
def test_a_pair_of_different_shapes_is_refused(tokenizer, changes, says):
    with pytest.raises(PairMismatch, match=says):
        paired(make_model(), make_model(**changes), tokenizer, "a", "b")


@pytest.mark.parametrize("words", [WORDS[:-1], [*WORDS[:-2], WORDS[-1], WORDS[-2]]])
def test_a_pair_of_different_tokenizers_is_refused(folders, words):
    make_tokenizer(words).save_pretrained(folders[1])
    with pytest.raises(PairMismatch, match="different tokenizers"):
        load_pair(*map(str, folders))


def test_models_whose_heads_are_not_found_say_so(tmp_path):
    from transformers import MambaConfig, MambaForCausalLM

    MambaForCausalLM(MambaConfig(vocab_size=30, hidden_size=8, num_hidden_layers=1)).save_pretrained(tmp_path / "mamba")
    with pytest.raises(UnsupportedModel, match=r"MambaForCausalLM .*softmax attention"):
        load_model(str(tmp_path / "mamba"))


def test_an_edited_config_is_found_out(folders):
    config = json.loads((folders[0] / "config.json").read_text())
    config["head_dim"] = 6
    (folders[0] / "config.json").write_text(json.dumps(config))
    with pytest.raises(LoadError):
        load_model(str(folders[0]))


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(SettingError, match="bfloat16"):
        Loading(dtype="int8")
    with pytest.raises(SettingError, match="cuda or mps"):
        Loading(device="abacus")
