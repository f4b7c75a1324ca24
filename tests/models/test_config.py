"""A config that makes no sense: one line that names the field, before any work, when read as when written."""

import json

import pytest
import torch
from commands import call
from conftest import configured, make_tokens
from families import make_family, random_compensation

from restorelcc.artifacts.export import save_checkpoint
from restorelcc.errors import LoadError
from restorelcc.evaluation.perplexity import token_loss
from restorelcc.models.loading import load_model, load_skeleton, load_tokenizer


def loaded(folder):
    """(the model or None, the message or nothing)."""
    try:
        return load_model(str(folder)), ""
    except LoadError as error:
        return None, str(error)


FIELDS = [
    ("vocab_size", "38"), ("vocab_size", None), ("vocab_size", -1), ("vocab_size", float("nan")), ("vocab_size", [38]),
    ("vocab_size", 10**30), ("hidden_size", 0), ("hidden_size", 1.5), ("num_hidden_layers", 10**30),
    ("num_hidden_layers", "3"), ("num_attention_heads", 0), ("num_attention_heads", True), ("num_key_value_heads", 0),
    ("head_dim", 0), ("head_dim", "8"), ("intermediate_size", -32), ("max_position_embeddings", 0),
    ("hidden_act", "abacus"), ("hidden_act", ""), ("hidden_act", None), ("rms_norm_eps", float("nan")),
    ("rms_norm_eps", float("inf")), ("rms_norm_eps", -1.0), ("rms_norm_eps", "1e-6"), ("rms_norm_eps", 2.0),
    ("attention_bias", "no"), ("tie_word_embeddings", "yes"), ("dtype", "abacus"), ("dtype", 3), ("dtype", "int8"),
    ("dtype", ""), ("model_type", "abacus"), ("model_type", ""), ("model_type", [1]), ("model_type", {}),
    ("rope_parameters", {"rope_type": "abacus", "rope_theta": 1e4}), ("rope_parameters", [1]),
    ("rope_parameters", {"rope_type": "default", "rope_theta": float("nan")}),
    ("rope_parameters", {"rope_type": "default", "rope_theta": "1e4"}), ("rope_parameters", "x"),
    ("quantization_config", "x"), ("quantization_config", 0), ("layer_types", 3), ("layer_types", ["abacus"] * 3),
    ("id2label", 3), ("num_labels", 10**12), ("num_labels", "2"), ("sliding_window", 0), ("attention_dropout", -1),
    ("auto_map", 3), ("pad_token_id", 10**6), ("eos_token_id", "1"), ("text_config", 3), ("fusion_config", [1]),
    ("torch_dtype", "abacus"),
    ("transformers_weights", 3), ("transformers_weights", "abacus.bin"), ("attn_implementation", 3),
    ("pruning", {"kept_heads": "x"}), ("pruning", {"kept_heads": [[0], [0, 1]]}),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), FIELDS, ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("load", [load_model, load_skeleton])
def test_a_field_that_makes_no_sense_is_named_in_one_line(folders, load, field, value):
    config = json.loads((folders[0] / "config.json").read_text()) | {field: value}
    (folders[0] / "config.json").write_text(json.dumps(config))
    if load is load_skeleton and field == "transformers_weights" and isinstance(value, str):
        return  # a skeleton has no weights
    with pytest.raises(LoadError) as caught:
        load(str(folders[0]))
    assert field in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) <= 500


@pytest.mark.parametrize("kind", ["gpt2", "opt", "gpt_neox", "gemma2", "phi3", "mixtral", "gpt_oss", "qwen3"])
def test_no_field_of_any_family_ends_in_a_traceback(kind, tmp_path):
    make_family(kind).save_pretrained(tmp_path / kind)
    original = json.loads((tmp_path / kind / "config.json").read_text())
    for field in original:
        for value in ("38", None, -1, [1], float("nan")):
            (tmp_path / kind / "config.json").write_text(json.dumps(original | {field: value}))
            model, said = loaded(tmp_path / kind)
            assert "\n" not in said
            assert len(said) <= 500
            assert bool(said) or torch.isfinite(model(make_tokens().ids).logits).all(), (field, value)


BESIDE = [
    {"return_dict": False}, {"output_hidden_states": True}, {"output_attentions": True}, {"architectures": "x"},
    {"architectures": None}, {"use_cache": False}, {"temperature": 0.5, "do_sample": True},
]  # fmt: skip


@pytest.mark.parametrize("changes", BESIDE, ids=str)
def test_what_a_config_asks_for_beside_the_function_is_in_nobodys_way(folders, pair, tokens, changes, tmp_path):
    config = json.loads((folders[0] / "config.json").read_text()) | changes
    (folders[0] / "config.json").write_text(json.dumps(config))
    model = load_model(str(folders[0]))
    expected = token_loss(pair.dense, tokens).nll
    torch.testing.assert_close(token_loss(model, tokens).nll, expected)
    save_checkpoint(tmp_path / "out", model, load_tokenizer(str(folders[0])), random_compensation(model))
    assert load_model(str(tmp_path / "out"))


@pytest.mark.parametrize("text", ["{", "", "[]", "null", "3", '"x"', '{"early_stopping": "x"}', "[" * 100_000,
                                  '{"temperature": NaN}', '{"max_new_tokens": 0}'])  # fmt: skip
def test_a_generation_config_that_cannot_be_kept_is_named_before_the_work(folders, text):
    (folders[0] / "generation_config.json").write_text(text)
    with pytest.raises(LoadError, match=r"generation_config\.json of"):
        load_model(str(folders[0]))


def test_an_inconsistent_generation_config_is_written_as_it_is(folders, tmp_path):
    settings = json.loads((folders[0] / "generation_config.json").read_text()) | {"temperature": 0.5, "top_p": 0.3}
    (folders[0] / "generation_config.json").write_text(json.dumps(settings))
    model, tokenizer = load_model(str(folders[0])), load_tokenizer(str(folders[0]))
    save_checkpoint(tmp_path / "out", model, tokenizer, random_compensation(model))
    written = json.loads((tmp_path / "out" / "generation_config.json").read_text())
    assert (written["temperature"], written["top_p"]) == (0.5, 0.3)


def test_the_command_line_says_it_in_one_line(folders, text):
    configured(folders[0], vocab_size="38")
    result = call("evaluate", folders[0], "--text", text, "--length", 16)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert "vocab_size" in result.stderr
