"""Kinds of heads: attention that is known gives the numbers that it must, and a head built by hand is found by name."""

import math

import pandas as pd
import pytest
import torch
from conftest import make_model, make_tokens
from transformers import LlamaConfig, LlamaForCausalLM

from restorelcc.capture.passage import attention_weights
from restorelcc.errors import SettingError
from restorelcc.inspection.definitions import KINDS
from restorelcc.inspection.kinds import EARLY, head_kinds, members, repeated_tokens
from restorelcc.models.pair import ModelPair, paired
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.text.tokens import Tokens

WIDTH, VOCABULARY = 128, 38  # of the circuit below; conftest's words


def induction_circuit() -> LlamaForCausalLM:
    """Two layers of two heads of which 0.0 looks at the previous token and 1.1 is an induction head; the others of
    weight zero, so that they look everywhere alike.

    The residual stream has a part for the token (one-hot), one for the token before it, which 0.0 writes, and sixteen
    that turn rotary embedding, which knows only of distances, into a head that looks one token back.
    """
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=64, max_position_embeddings=128, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.zero_()
    token, before, one = slice(0, 38), slice(38, 76), 80
    embedding = model.model.embed_tokens.weight
    embedding[:, token] = torch.eye(VOCABULARY)
    embedding[:, one] = 1.0  # the same in every token: what a head that asks for a distance reads
    first, second = (layer.self_attn for layer in model.model.layers)
    # 0.0: in each of the fast-turning planes of rotary embedding the query is the key turned by one token's angle, so
    # that they agree best one token back.
    inverse = 1.0 / 10_000.0 ** (torch.arange(0, 64, 2) / 64)
    for plane in range(12):
        first.k_proj.weight[plane, one] = 12.0
        first.q_proj.weight[plane, one] = 12.0 * math.cos(inverse[plane])
        first.q_proj.weight[plane + 32, one] = -12.0 * math.sin(inverse[plane])
    first.v_proj.weight[0:38, token] = torch.eye(VOCABULARY)
    first.o_proj.weight[before, 0:38] = 2.0 * torch.eye(VOCABULARY)
    # 1.1: asks with its token for the token before, in planes that turn slowly, two halves each.
    rows = torch.tensor([64 + plane for plane in range(14, 32)] + [96 + plane for plane in range(14, 32)])
    codes = torch.nn.functional.normalize(
        torch.randn(VOCABULARY, len(rows), generator=torch.Generator().manual_seed(3)), dim=-1
    )
    second.q_proj.weight[rows, token] = 12.0 * codes.T
    second.k_proj.weight[rows, before] = 12.0 * codes.T
    model.lm_head.weight[:, token] = torch.eye(VOCABULARY)
    return model


@pytest.fixture
def circuit(tokenizer) -> ModelPair:
    dense, pruned = induction_circuit(), induction_circuit()
    pruned.model.layers[1].self_attn.q_proj.weight.zero_()
    return paired(dense, pruned, tokenizer, "dense", "pruned")


def test_a_known_induction_head_is_found_by_name_and_what_pruning_took_of_it(circuit: ModelPair, tokens: Tokens):
    kinds = finish(head_kinds(circuit, make_tokens(length=40)))
    named = {(member.kind, member.layer, member.head): member for member in members(kinds)}
    assert {at for at, member in named.items() if not member.nearest} == {
        ("previous_token", 0, 0),
        ("induction", 1, 1),
    }
    assert sorted(kind for kind, *_ in named) == ["duplicate_token", "first_token", "induction", "previous_token"]
    induction, previous = named["induction", 1, 1], named["previous_token", 0, 0]
    assert induction.dense > 0.8
    assert induction.pruned < 0.05
    assert induction.kept == pytest.approx(induction.pruned / induction.dense)
    assert previous.kept == pytest.approx(1)
    assert kinds.change.induction.argmin() == 3
    assert kinds.change.induction.flatten()[:3].abs().max() < 1e-6


def test_heads_that_look_everywhere_alike_give_what_can_be_counted(circuit: ModelPair):
    tokens = make_tokens(texts=3, length=20)
    kinds = finish(head_kinds(circuit, tokens)).dense
    seen = torch.arange(EARLY, 20).double() + 1  # tokens that each of those that count may look at
    even = 0, 1
    assert float(kinds.first_token[even]) == pytest.approx(float((1 / seen).mean()), rel=1e-5)
    assert float(kinds.previous_token[even]) == pytest.approx(float((1 / seen).mean()), rel=1e-5)
    assert float(kinds.entropy[even]) == pytest.approx(float(seen.log().mean()), rel=1e-5)
    assert float(kinds.reach[even]) == pytest.approx(float(((seen - 1) / 2).mean()), rel=1e-5)
    length = repeated_tokens(circuit).shape[1] // 2
    again = 1 / (torch.arange(length, 2 * length - 1).double() + 2)  # a start token before
    assert float(kinds.induction[even]) == pytest.approx(float(again.mean()), rel=1e-5)
    assert float(kinds.duplicate_token[even]) == pytest.approx(float(again.mean()), rel=1e-5)


def test_they_are_read_off_the_attention_that_is_shown(pair: ModelPair):
    """Against the obvious computation, one text after the other, padding and all."""
    tokens = make_tokens(texts=3, length=24)
    tokens.real[1, 15:] = False
    kinds = finish(head_kinds(pair, tokens, batch=2))
    expected = {name: torch.zeros(3, 4, dtype=torch.float64) for name in ("previous_token", "first_token", "entropy")}
    for ids, real in zip(tokens.ids, tokens.real, strict=True):
        weights = attention_weights(pair.pruned, ids[None]).double()
        rows = [query for query in range(EARLY, 24) if real[query]]
        for query in rows:
            expected["previous_token"] += weights[:, :, query, query - 1] / len(rows) / 3
            expected["first_token"] += weights[:, :, query, 0] / len(rows) / 3
            expected["entropy"] += -torch.xlogy(weights, weights)[:, :, query].sum(-1) / len(rows) / 3
    for name, values in expected.items():
        torch.testing.assert_close(getattr(kinds.pruned, name), values, rtol=1e-4, atol=1e-6)
    ids, total = repeated_tokens(pair), torch.zeros(3, 4, dtype=torch.float64)
    length = ids.shape[1] // 2
    for row in ids:
        weights = attention_weights(pair.dense, row[None]).double()
        places = [at for at in range(len(row)) if at > length and row[at] in row[:at]][:-1]
        for at in places:
            earlier = row[:at].tolist().index(int(row[at]))
            total += weights[:, :, at, earlier + 1] / len(places) / len(ids)
    torch.testing.assert_close(kinds.dense.induction, total, rtol=1e-4, atol=1e-6)


def test_random_tokens_are_ordinary_all_different_and_twice(pair: ModelPair):
    ids = repeated_tokens(pair)
    start, length = 1, ids.shape[1] // 2
    assert torch.equal(ids[:, start : start + length], ids[:, start + length :])
    assert all(len(set(row.tolist())) == length for row in ids[:, start + length :])
    assert not set(pair.tokenizer.all_special_ids) & set(ids[:, start:].flatten().tolist())
    assert torch.equal(ids, repeated_tokens(pair))
    assert not torch.equal(ids, repeated_tokens(pair, seed=1))


def test_heads_that_are_gone_do_nothing_and_the_others_are_told_apart(tokens: Tokens, tokenizer):
    dense = make_model(num_key_value_heads=4)
    narrow = finish(prune(dense, tokens, Pruning("structured", 0.5), "test", batch=4))
    pair = paired(dense, narrow, tokenizer, "dense", "pruned")
    pruned = finish(head_kinds(pair, tokens)).pruned
    assert torch.equal(pruned.entropy > 0, pair.present)
    own = finish(head_kinds(paired(narrow, narrow, tokenizer, "narrow", "narrow"), tokens)).dense
    torch.testing.assert_close(pruned.induction[pair.present], own.induction.flatten())


def test_windows_too_short_are_refused(pair: ModelPair):
    with pytest.raises(SettingError, match="Windows of 8 tokens are too short"):
        finish(head_kinds(pair, make_tokens(length=8)))


def test_the_table_has_a_row_a_head(pair: ModelPair, tokens: Tokens):
    frame = finish(head_kinds(pair, tokens)).to_pandas()
    assert list(frame.columns) == [
        "layer",
        "head",
        *(f"{name}_{side}" for name in KINDS for side in ("dense", "pruned")),
    ]
    assert len(frame) == 12
    assert isinstance(frame, pd.DataFrame)
    assert frame.notna().all().all()
