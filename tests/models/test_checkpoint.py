"""What is in the folder is what is computed, and nothing of it is dropped or made up without a word."""

import math
import shutil

import pytest
import torch
from conftest import configured, make_model, rewritten
from families import make_family, random_compensation
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from restorelcc.artifacts.export import save_checkpoint
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.errors import LoadError
from restorelcc.evaluation.perplexity import perplexity, token_loss
from restorelcc.hf.layout import geometry, remarks
from restorelcc.hf.weights import is_tied
from restorelcc.models.loading import Loading, load_model
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def plain_perplexity(model, tokens):
    """By a loop of its own."""
    total, count = 0.0, 0
    model.requires_grad_(False)
    for ids in tokens.ids:
        logits = model(ids[None]).logits[0, :-1].double().log_softmax(-1)
        total -= float(logits.gather(-1, ids[1:, None]).sum())
        count += len(ids) - 1
    return math.exp(total / count)


# --- one tensor for both, or two ---------------------------------------------------------------------------------


def own_head(state):
    draw = torch.Generator().manual_seed(3)
    state["lm_head.weight"] = torch.randn(state["model.embed_tokens.weight"].shape, generator=draw)


@pytest.fixture
def apart(tmp_path, tokenizer):
    """A folder whose config says that the unembedding is the embedding, and whose file has one of its own."""
    make_model(tie_word_embeddings=True).save_pretrained(tmp_path / "apart")
    tokenizer.save_pretrained(tmp_path / "apart")
    rewritten(tmp_path / "apart", own_head)
    return tmp_path / "apart"


def test_a_head_of_its_own_is_computed_with_and_written(apart, tmp_path, tokenizer, tokens):
    model = load_model(str(apart))
    assert torch.equal(model.lm_head.weight, load_file(apart / WEIGHTS)["lm_head.weight"])
    assert not is_tied(model)
    assert [said for said in remarks(model) if "lm_head.weight" in said]
    expected = perplexity(token_loss(model, tokens)).value
    assert expected == pytest.approx(plain_perplexity(model, tokens), rel=1e-6)
    none = Constants.none(geometry(model))
    pruned = finish(prune(model, tokens, Pruning("magnitude", 0.5)))
    narrow = finish(prune(model, tokens, Pruning("structured", 0.5)))
    for number, (written, with_) in enumerate([(model, None), (model, none), (pruned, None), (pruned, none),
                                               (narrow, None), (narrow, none)]):  # fmt: skip
        out = tmp_path / f"out{number}"
        save_checkpoint(out, written, tokenizer, with_)
        wanted = perplexity(token_loss(written, tokens)).value
        assert perplexity(token_loss(load_model(str(out)), tokens)).value == pytest.approx(wanted, rel=1e-6)
        stock = AutoModelForCausalLM.from_pretrained(out).eval()
        assert plain_perplexity(stock, tokens) == pytest.approx(wanted, rel=1e-6)
        assert stock.config.tie_word_embeddings is False  # whatever reads it, older versions too
        assert torch.equal(stock.lm_head.weight, model.lm_head.weight)


@pytest.mark.parametrize("kind", ["mistral", "qwen2", "phi3", "gemma2", "opt", "gpt2"])
def test_heads_of_their_own_survive_in_every_family(kind, tmp_path, tokenizer, tokens):
    model = make_family(kind, tie_word_embeddings=True, **({"sliding_window": None} if kind == "mistral" else {}))
    assert is_tied(model)
    model.save_pretrained(tmp_path / kind)
    rewritten(tmp_path / kind, lambda state: state.update({"lm_head.weight": torch.randn(next(
        value.shape for name, value in state.items() if "embed_tokens" in name or "wte" in name))}))  # fmt: skip
    loaded = load_model(str(tmp_path / kind))
    c = random_compensation(loaded)
    with compensated(loaded, c):
        expected = loaded(tokens.ids).logits
    save_checkpoint(tmp_path / "out", loaded, tokenizer, c)
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    torch.testing.assert_close(stock(tokens.ids).logits, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore:.*meta device because they were offloaded")
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_head_of_its_own_is_one_where_the_model_is_spread(apart, tokens, monkeypatch, share):
    whole = load_model(str(apart))
    size = share * sum(p.numel() * p.element_size() for p in whole.parameters())
    monkeypatch.setattr("transformers.integrations.accelerate.accelerate_max_memory", lambda *_: {"cpu": size + 1000})
    far = load_model(str(apart), Loading("map"))
    torch.testing.assert_close(far(tokens.ids).logits, whole(tokens.ids).logits)
    assert far.config.tie_word_embeddings is False


def test_an_equal_head_is_the_same_head(tmp_path):
    make_model(tie_word_embeddings=True).save_pretrained(tmp_path / "twice")
    rewritten(tmp_path / "twice", lambda state: state.update({"lm_head.weight": state["model.embed_tokens.weight"]}))
    model = load_model(str(tmp_path / "twice"))
    assert is_tied(model)
    assert remarks(model) == []


def test_the_other_name_of_a_tied_tensor_will_do(tmp_path, tokens):
    model = make_model(tie_word_embeddings=True)
    model.save_pretrained(tmp_path / "other")
    rewritten(
        tmp_path / "other", lambda state: state.update({"lm_head.weight": state.pop("model.embed_tokens.weight")})
    )
    assert torch.equal(load_model(str(tmp_path / "other"))(tokens.ids).logits, model(tokens.ids).logits)


def test_a_head_that_is_not_there_is_not_made_up(folders):
    rewritten(folders[0], lambda state: state.pop("lm_head.weight"))
    with pytest.raises(LoadError, match=r"lacks 1 weights.*lm_head\.weight.*random.*tie_word_embeddings"):
        load_model(str(folders[0]))


def test_what_is_tied_in_memory_alone_is_written_so(tmp_path, tokenizer, tokens):
    """A model that nobody loaded: its config says one thing, its tensors another."""
    for tied in (True, False):
        model = make_model(tie_word_embeddings=not tied)
        model.lm_head.weight = model.model.embed_tokens.weight if tied else torch.nn.Parameter(
            torch.randn_like(model.lm_head.weight), requires_grad=False
        )  # fmt: skip
        save_checkpoint(tmp_path / f"{tied}", model, tokenizer, Constants.none(geometry(model)))
        stock = AutoModelForCausalLM.from_pretrained(tmp_path / f"{tied}").eval()
        torch.testing.assert_close(stock(tokens.ids).logits, model(tokens.ids).logits)


# --- precision ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "named", "read"),
    [("float32", "bfloat16", "float32"), ("float32", "float16", "float32"), ("bfloat16", "float32", "float32"),
     ("bfloat16", "float16", "float32"), ("float16", "bfloat16", "float32"), ("bfloat16", None, "bfloat16"),
     ("float64", "float32", "float32"), ("float64", None, "float32"), ("bfloat16", "bfloat16", "bfloat16")],
)  # fmt: skip
def test_no_number_is_rounded_on_the_way_in(tmp_path, stored, named, read):
    model = make_model().to(getattr(torch, stored))
    model.save_pretrained(tmp_path / "one")
    configured(tmp_path / "one", dtype=named)
    loaded = load_model(str(tmp_path / "one"), Loading("cpu"))
    assert loaded.dtype == getattr(torch, read)
    for name, value in loaded.state_dict().items():
        assert torch.equal(value, model.state_dict()[name].to(value.dtype))
    said = [one for one in remarks(loaded) if f"stored in {stored}" in one]
    assert bool(said) == (named is not None and named != stored)


def test_what_is_rounded_is_said(folders):
    rewritten(folders[0], lambda state: [
        state.update({name: value.bfloat16()}) for name, value in list(state.items()) if "norm" not in name
    ])  # fmt: skip
    configured(folders[0], dtype="bfloat16")
    (said,) = remarks(load_model(str(folders[0])))
    assert "7 tensors rounded to bfloat16" in said
    assert remarks(load_model(str(folders[0]), Loading(dtype="float32"))) == []


def test_values_beyond_a_precision_name_the_precision(folders):
    rewritten(folders[0], lambda state: state["model.layers.1.mlp.up_proj.weight"].mul_(1e6))
    assert load_model(str(folders[0])).dtype == torch.float32
    with pytest.raises(LoadError, match=r"layers\.1\.mlp\.up_proj\.weight beyond what float16 can hold.*bfloat16"):
        load_model(str(folders[0]), Loading(dtype="float16"))


# --- tensors without a place, places without a tensor --------------------------------------------------------------

STRANGE = {
    "model.layers.0.self_attn.q_proj.bias": (32,),  # a bias that the config switches off
    "model.layers.3.mlp.up_proj.weight": (32, 24),  # a layer more than the config has
    "model.layers.1.self_attn.q_norm.weight": (8,),  # another architecture
    "model.embed_positions.weight": (64, 24),
    "lm_head.bias": (38,),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_tensor_without_a_place_is_named(folders, name):
    rewritten(folders[0], lambda state: state.update({name: torch.ones(STRANGE[name])}))
    with pytest.raises(LoadError, match=rf"holds 1 tensor that its config has no place for, {name} first"):
        load_model(str(folders[0]))


def test_fewer_layers_than_the_file_has_are_named(folders):
    configured(folders[0], num_hidden_layers=2)
    with pytest.raises(LoadError, match=r"holds 9 tensors .*no place for, model\.layers\.2\.input_layernorm"):
        load_model(str(folders[0]))


def test_more_layers_than_the_file_has_are_named(folders):
    configured(folders[0], num_hidden_layers=4)
    with pytest.raises(
        LoadError, match=r"lacks 9 weights that its config calls for, model\.layers\.3\.input_layernorm"
    ):
        load_model(str(folders[0]))


BENIGN = {
    "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4),
    "model.rotary_emb.inv_freq": torch.ones(4),
    "model.layers.1.self_attn.rotary_emb.cos_cached": torch.ones(1, 1, 64, 8),
    "model.layers.0.self_attn.masked_bias": torch.tensor(-1e9),
    "model.layers.0.attn.bias": torch.ones(1, 1, 64, 64),
    "model.layers.0.attention.bias": torch.ones(1, 1, 64, 64, dtype=torch.bool),
    "model.position_ids": torch.arange(64)[None],
}


def test_tensors_of_no_account_are_passed_over(folders, pair, tokens):
    rewritten(folders[0], lambda state: state.update(BENIGN))
    model = load_model(str(folders[0]))
    assert remarks(model) == []
    assert torch.equal(model(tokens.ids).logits, pair.dense(tokens.ids).logits)


@pytest.mark.parametrize("name", ["transformer.h.0.attn.bias", "transformer.h.1.attn.masked_bias"])
def test_masks_of_older_checkpoints_are_passed_over(tmp_path, tokens, name):
    model = make_family("gpt2")
    model.save_pretrained(tmp_path / "gpt2")
    rewritten(tmp_path / "gpt2", lambda state: state.update({name: torch.ones(1, 1, 64, 64)}))
    assert torch.equal(load_model(str(tmp_path / "gpt2"))(tokens.ids).logits, model(tokens.ids).logits)


def test_a_head_beside_the_model_is_said_and_no_more(folders, pair, tokens):
    rewritten(folders[0], lambda state: state.update({"v_head.summary.weight": torch.ones(1, 24)}))
    model = load_model(str(folders[0]))
    assert torch.equal(model(tokens.ids).logits, pair.dense(tokens.ids).logits)
    (said,) = remarks(model)
    assert "1 tensor that its model does not compute with, v_head.summary.weight first" in said


def masked(state):
    """As torch.nn.utils.prune leaves it where nobody called `remove`."""
    for name in [name for name in state if name.endswith("_proj.weight")]:
        state[f"{name}_orig"] = state.pop(name)
        state[f"{name}_mask"] = torch.ones_like(state[f"{name}_orig"])


def prefixed(prefix):
    def change(state):
        for name in list(state):
            state[prefix + name] = state.pop(name)

    return change


def adapted(state):
    for name in [name for name in state if "q_proj" in name]:
        state[name.replace(".weight", ".base_layer.weight")] = state.pop(name)
        state[name.replace(".weight", ".lora_A.default.weight")] = torch.ones(2, 24)


def packed(state):
    for name in [name for name in state if "_proj" in name]:
        state[name.replace(".weight", ".qweight")] = state.pop(name).to(torch.int32)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (masked, r"42 weights and masks of torch\.nn\.utils\.prune.*prune\.remove"),
        (prefixed("module."), "30 tensors of a model saved inside DataParallel"),
        (prefixed("_orig_mod."), r"30 tensors of a model saved inside torch\.compile"),
        (prefixed("base_model.model."), "30 tensors of a PEFT adapter.*merge_and_unload"),
        (adapted, "6 tensors of a PEFT adapter.*merge_and_unload"),
        (packed, "21 packed weights"),
    ],
)
def test_how_a_checkpoint_was_written_is_recognised(folders, change, says):
    rewritten(folders[0], change)
    with pytest.raises(LoadError, match=says):
        load_model(str(folders[0]))


def test_a_base_model_with_a_tied_head_is_whole(tmp_path, tokens):
    model = make_model(tie_word_embeddings=True)
    model.model.save_pretrained(tmp_path / "base")
    assert torch.equal(load_model(str(tmp_path / "base"))(tokens.ids).logits, model(tokens.ids).logits)


def test_shapes_at_odds_are_named_before_anything_is_made_up(folders):
    configured(folders[0], vocab_size=10**7)
    with pytest.raises(
        LoadError, match=r"2 tensors of another shape.*lm_head\.weight first: \[38, 24\].*\[10000000, 24\]"
    ):
        load_model(str(folders[0]))


@pytest.mark.parametrize("kind", ["mixtral", "qwen3_moe", "gpt2", "opt", "phi3"])
def test_shapes_at_odds_are_named_in_other_families(kind, tmp_path):
    make_family(kind).save_pretrained(tmp_path / kind)
    name = "n_inner" if kind == "gpt2" else "ffn_dim" if kind == "opt" else "intermediate_size"
    configured(tmp_path / kind, **{"moe_intermediate_size" if kind == "qwen3_moe" else name: 48})
    with pytest.raises(LoadError, match=r"another shape than its config calls for|cannot be loaded"):
        load_model(str(tmp_path / kind))


# --- shards --------------------------------------------------------------------------------------------------------


@pytest.fixture
def shards(tmp_path, tokenizer):
    make_model().save_pretrained(tmp_path / "shards", max_shard_size="20kB")
    tokenizer.save_pretrained(tmp_path / "shards")
    return tmp_path / "shards"


def test_a_shard_that_is_not_there_is_named(shards):
    gone = sorted(shards.glob("model-*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(LoadError, match=rf"names \d+ files, and 1 of them are not there, '{gone.name}'"):
        load_model(str(shards))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        "{}",
        '{"metadata": null, "weight_map": {}}',
        '{"metadata": {}, "weight_map": {}}',
        '{"metadata": {}, "weight_map": {"a": 3}}',
    ],
)
def test_an_index_that_is_none_is_named(shards, text):
    (shards / INDEX).write_text(text)
    with pytest.raises(LoadError, match=r"model\.safetensors\.index\.json of"):
        load_model(str(shards))


def test_a_damaged_shard_is_named(shards):
    broken = sorted(shards.glob("model-*.safetensors"))[1]
    broken.write_bytes(broken.read_bytes()[:-100])
    with pytest.raises(LoadError, match=rf"damaged.*{broken.name}"):
        load_model(str(shards))


def test_a_tensor_in_two_shards_is_named(shards):
    first, second = sorted(shards.glob("model-*.safetensors"))[:2]
    name, value = next(iter(load_file(first).items()))
    save_file(load_file(second) | {name: value * 2}, second, metadata={"format": "pt"})
    with pytest.raises(LoadError, match=rf"1 tensor in two of its files, {name} first"):
        load_model(str(shards))


def test_weights_that_are_not_read_are_said(shards, pair, tokens):
    pair.pruned.save_pretrained(shards / "other")
    shutil.copy(shards / "other" / WEIGHTS, shards / WEIGHTS)  # saved whole over an older, sharded one
    model = load_model(str(shards))
    assert torch.equal(model(tokens.ids).logits, pair.pruned(tokens.ids).logits)
    assert any("weights that are not read" in said and "more" in said for said in remarks(model))
