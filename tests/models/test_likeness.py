"""A pair differs in pruning: what else lies between the two is said, or refused where it is certain to be a mistake."""

import json
import re

import pytest
import torch
from commands import answer, call
from conftest import configured, make_model, noisy, rewritten
from families import make_family

from restorelcc.errors import PairMismatch, SwappedSides
from restorelcc.models.loading import Loading
from restorelcc.models.pair import load_pair, paired, skeleton_pair
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.text.sources import DEMO

MISTAKES = {
    "rope_parameters.rope_theta": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
    "rope_parameters.rope_type": {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
    "rms_norm_eps": {"rms_norm_eps": 1e-3},
    "hidden_act": {"hidden_act": "gelu"},
}


@pytest.mark.parametrize("field", MISTAKES)
@pytest.mark.parametrize("load", [load_pair, skeleton_pair])
@pytest.mark.parametrize("side", [0, 1])
def test_another_function_of_the_same_weights_is_refused(folders, load, field, side):
    configured(folders[side], **MISTAKES[field])
    with pytest.raises(PairMismatch, match=rf"{field} .* against .*taken for what pruning took") as caught:
        load(*map(str, folders))
    assert len(str(caught.value)) <= 500


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("gemma2", {"query_pre_attn_scalar": 16}), ("gemma2", {"attn_logit_softcapping": 50.0}),
        ("gemma2", {"final_logit_softcapping": None}), ("gemma2", {"sliding_window": 8}),
        ("gemma2", {"layer_types": ["sliding_attention", "full_attention"]}),
        ("gemma3_text", {"rope_parameters": {"sliding_attention": {"rope_type": "default", "rope_theta": 55.0},
                                             "full_attention": {"rope_type": "default", "rope_theta": 1e6}}}),
        ("granite", {"residual_multiplier": 0.25}), ("granite", {"logits_scaling": 4.0}),
        ("granite", {"attention_multiplier": 0.1}), ("granite", {"embedding_multiplier": 3.0}),
        ("gpt_neox", {"use_parallel_residual": False}), ("gpt_neox", {"layer_norm_eps": 1e-2}),
        ("gpt_neox", {"rotary_pct": 0.25}), ("gpt2", {"activation_function": "relu"}),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}), ("opt", {"activation_function": "gelu"}),
        ("smollm3", {"no_rope_layers": [0, 1]}), ("qwen3_moe", {"norm_topk_prob": True}),
        ("phi", {"partial_rotary_factor": 1.0}), ("mistral", {"sliding_window": 8}),
    ],
    ids=str,
)  # fmt: skip
def test_so_it_is_in_every_family(kind, changes, tokenizer):
    dense = make_family(kind, **({"sliding_window": None} if kind == "mistral" else {}))
    other = make_family(kind, **({"sliding_window": None} if kind == "mistral" else {}) | changes)
    with pytest.raises(PairMismatch, match="different things with the same weights"):
        paired(dense, other, tokenizer, "a", "b")
    assert paired(dense, make_family(kind, **({"sliding_window": None} if kind == "mistral" else {})), tokenizer,
                  "a", "b").notes == ()  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"max_position_embeddings": 128}, "max_position_embeddings 64 against 128"),
        ({"sliding_window": 4096}, None),
        ({"rms_norm_eps": 9.999999974752427e-07}, None), ({"hidden_act": "swish"}, None),
        ({"initializer_range": 0.1}, None), ({"attention_dropout": 0.1}, None), ({"eos_token_id": 2}, None),
        ({"use_cache": False}, None), ({"pretraining_tp": 2}, None), ({"architectures": ["X"]}, None),
        ({"a_field_of_somebody": 3}, None),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_certain_mistake_is_said_or_passed_over(folders, changes, says):
    configured(folders[1], **changes)
    said = load_pair(*map(str, folders)).notes
    assert len(said) == (says is not None)
    assert says is None or says in said[0]


def test_approximations_of_one_activation_are_said(tokenizer):
    dense = make_family("gpt2", activation_function="gelu_new")
    said = paired(dense, make_family("gpt2", activation_function="gelu"), tokenizer, "a", "b").notes
    assert "activation_function 'gelu_new' against 'gelu'" in said[0]
    assert paired(dense, make_family("gpt2", activation_function="gelu_pytorch_tanh"), tokenizer, "a", "b").notes == ()


def test_a_window_longer_than_any_text_is_said_and_a_shorter_one_refused(tokenizer):
    made = [make_family("mistral", max_position_embeddings=8192, sliding_window=window) for window in (None, 4096, 512)]
    assert "sliding_window None against 4096" in paired(made[0], made[1], tokenizer, "a", "b").notes[0]
    with pytest.raises(PairMismatch, match="sliding_window"):
        paired(made[0], made[2], tokenizer, "a", "b")


# --- precision -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
@pytest.mark.parametrize("load", [load_pair, skeleton_pair])
def test_another_precision_is_said(folders, pair, kind, load):
    noisy(pair.dense).to(getattr(torch, kind)).save_pretrained(folders[1])
    (said,) = load(*map(str, folders), Loading("cpu")).notes
    assert f"is stored in float32 and {folders[1]} in {kind}" in said


# --- sides -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [[], ["--one-at-a-time"]])
def test_sides_the_wrong_way_round_are_refused(folders, text, more):
    arguments = ["--calibration", text, "--length", 16, *more]
    assert call("inspect", "--dense", folders[0], "--pruned", folders[1], *arguments).exit_code == 0
    result = call("inspect", "--dense", folders[1], "--pruned", folders[0], *arguments)
    assert result.exit_code == 2
    assert "the wrong way round" in result.stderr
    assert result.stderr.count("\n") == 1
    with pytest.raises(SwappedSides):
        load_pair(str(folders[1]), str(folders[0]))


def test_sides_of_a_narrower_pair_too(tmp_path, tokenizer, tokens):
    dense = make_model()
    narrow = finish(prune(dense, tokens, Pruning("structured", 0.5)))
    with pytest.raises(PairMismatch, match=r"fewer heads.*n_heads 2 against 4.*the wrong way round"):
        paired(narrow, dense, tokenizer, "narrow", "dense")
    for name, model in {"dense": dense, "narrow": narrow}.items():
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    assert load_pair(str(tmp_path / "dense"), str(tmp_path / "narrow")).notes == ()


def test_one_model_twice_is_said(folders, text):
    found = answer("inspect", "--dense", folders[0], "--pruned", folders[0], "--calibration", text, "--length", 16)
    assert [remark for remark in found["remarks"] if "hold the same weights" in remark]


def test_another_model_is_refused(folders, tokenizer):
    make_model(seed=1).save_pretrained(folders[1])
    with pytest.raises(PairMismatch, match="nothing to do with each other"):
        load_pair(*map(str, folders))


def test_a_model_further_trained_is_said(folders, tokens):
    rewritten(folders[1], lambda state: state.update(
        {name: value * (1 + 0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0)))
         for name, value in state.items()}))  # fmt: skip
    (said,) = load_pair(*map(str, folders)).notes
    assert "differ from those of" in said
    assert re.search(r"by (4\.[5-9]|5\.[0-5])% of their size", said)


@pytest.mark.parametrize("method", ["wanda", "magnitude", "sparsegpt", "structured"])
def test_pruning_itself_is_not_remarked_on(folders, tokens, pair, method):
    finish(prune(pair.dense, tokens, Pruning(method, 0.5))).save_pretrained(folders[1])
    said = load_pair(*map(str, folders)).notes
    assert len(said) == (method == "sparsegpt")  # which changes what it keeps, and that is said


# --- where it is said -------------------------------------------------------------------------------------------------


def test_it_is_said_beside_the_figures_and_on_the_card(folders, text, tmp_path):
    configured(folders[1], max_position_embeddings=128)
    arguments = ["--dense", folders[0], "--pruned", folders[1], "--calibration", text, "--length", 16]
    for more in ([], ["--one-at-a-time"]):
        result = call("inspect", *arguments, *more)
        assert "differ in more than pruning" in result.stderr
        assert "differ in more than pruning" not in result.stdout
        assert "max_position_embeddings" in answer("inspect", *arguments, *more)["remarks"][0]
    result = call("restore", *arguments, "--steps", 2, "--out", tmp_path / "out")
    assert "differ in more than pruning" in result.stderr
    card = (tmp_path / "out" / "README.md").read_text()
    assert "The configs of dense and pruned differ in more than pruning" in card
    assert str(tmp_path) not in card


def test_a_pair_without_anything_to_say_says_nothing(folders, text):
    assert answer("inspect", "--dense", DEMO, "--pruned", DEMO, "--calibration", text, "--length", 16)["remarks"] == []
    arguments = ["--dense", folders[0], "--pruned", folders[1], "--calibration", text, "--length", 16]
    assert answer("inspect", *arguments)["remarks"] == []
    assert json.loads((folders[0] / "config.json").read_text())["model_type"] == "llama"
