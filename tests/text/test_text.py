"""From files to tokens."""

import json

import pytest
import torch
from families import make_family
from hypothesis import given, settings
from hypothesis import strategies as st

from restorelcc.errors import SettingError, TextError
from restorelcc.hf import hub
from restorelcc.hf.families import FAMILIES
from restorelcc.hf.layout import cache_bytes, vocabulary_size
from restorelcc.progress import finish
from restorelcc.text.calibration import calibration_tokens, sampled_windows, split_held_out, window_length
from restorelcc.text.generate import generate
from restorelcc.text.sources import Document, read
from restorelcc.text.tokens import rows, tokenized, windows


def test_plain_files_are_split_into_documents(tmp_path):
    path = tmp_path / "stories.txt"
    path.write_text("the dog ran\n<|endoftext|>\nthe cat sat\n<|endoftext|>\n")
    assert read(str(path)) == [Document("the dog ran"), Document("the cat sat")]


def test_json_lines_by_field_or_by_habit(tmp_path):
    path = tmp_path / "rows.jsonl"
    data = [{"text": "the dog", "note": "a"}, {"text": "the cat", "note": "b"}]
    path.write_text("\n".join(map(json.dumps, data)) + "\n\n")
    assert [document.text for document in read(str(path))] == ["the dog", "the cat"]
    assert [document.text for document in read(f"{path}:note")] == ["a", "b"]
    path.write_text(json.dumps({"prompt": "who ran?", "right": " the dog", "wrong": " the cat"}))
    assert read(str(path)) == [Document(" the dog", "who ran?")]
    path.write_text(json.dumps({"instruction": "add", "input": "1 2", "output": "3"}))
    assert read(str(path)) == [Document("3", "add\n1 2\n")]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("none.txt", None, "no text file"),
        ("empty.txt", b" \n ", "holds no text"),
        ("latin.txt", b"caf\xe9", "not UTF-8"),
        ("bad.jsonl", b"{", "line 1 is not JSON"),
        ("list.jsonl", b"[1]", "not an object"),
        ("other.jsonl", b'{"title": "x"}', "it has title"),
    ],
)
def test_bad_files_are_named_with_what_is_wrong(tmp_path, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TextError, match=says):
        read(str(tmp_path / name))


@pytest.mark.parametrize("source", ["wikitext2", "c4", "alpaca", "hf:owner/set:train:text"])
def test_the_hub_offline_is_one_line(source):
    assert not hub.reachable()
    with pytest.raises(TextError, match="cannot be reached") as caught:
        read(source)
    assert "\n" not in str(caught.value)


def test_the_hub_is_read_through_datasets(monkeypatch):
    """Which dataset, config, split and column each source stands for, and how rows become documents."""
    asked = []

    def load_dataset(path, config, split, streaming):
        asked.append((path, config, split, streaming))
        yield from ({"text": f"line {index}", "other": "x"} for index in range(3))

    monkeypatch.setattr(hub, "reachable", lambda: True)
    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    assert read("wikitext2", "evaluation") == [Document("line 0\n\nline 1\n\nline 2")]
    assert read("c4", "calibration")[1] == Document("line 1")
    assert read("hf:owner/set/conf:test:other") == [Document("x")] * 3
    assert asked == [
        ("Salesforce/wikitext", "wikitext-2-raw-v1", "test", True),
        ("allenai/c4", "en", "train", True),
        ("owner/set", "conf", "test", True),
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(2, 12), st.integers(1, 12))
def test_windows_score_every_token_but_the_first_exactly_once(tokenizer, lengths, length, stride):
    stride = min(stride, length)
    documents = [Document(" ".join(["dog"] * count)) for count in lengths]
    tokens = windows(documents, tokenizer, length, stride)
    stream = sum(lengths) + len(lengths)
    starts = [index * stride for index in range(len(tokens))]
    covered = starts[-1] + tokens.ids.shape[1]
    scored = [
        start + pos for start, row in zip(starts, tokens.scored, strict=True) for pos in row.nonzero()[:, 0].tolist()
    ]
    assert len(scored) == len(set(scored))
    unscored = set(range(covered)) - set(scored)
    # With windows side by side the first token of each has nothing before it; overlapping, only the very first.
    assert unscored == ({*starts} if stride == length else {0})
    assert covered <= stream < covered + stride or len(tokens) == 1


def test_documents_are_led_by_the_beginning_token(tokenizer):
    tokens = windows([Document("the dog"), Document("a cat")], tokenizer, 6)
    assert tokens.ids.tolist() == [[0, *tokenizer("the dog").input_ids, 0, *tokenizer("a cat").input_ids]]


def test_at_most_so_many_windows(tokenizer):
    documents = [Document("the dog ran")] * 50
    assert len(windows(documents, tokenizer, 8, most=3)) == 3
    assert len(windows(documents, tokenizer, 8)) == 50 * 4 // 8


def test_rows_know_prompt_answer_and_padding(tokenizer):
    tokens = rows([Document(" the dog", "who ran"), Document(" a", "in the park")], tokenizer, 32)
    assert tokens.ids.shape == (2, 5)
    assert tokens.real.tolist() == [[True] * 5, [True] * 5]
    assert tokens.response.tolist() == [[False, False, False, True, True], [False] * 4 + [True]]
    assert tokens.scored.tolist() == [[False, True, True, True, True]] * 2
    ragged = rows([Document("the dog ran"), Document("a")], tokenizer, 32)
    assert ragged.real.tolist() == [[True] * 4, [True, True, False, False]]
    assert tokenized([Document(" the dog", "who ran")], tokenizer, 32).response.sum() == 2


def test_too_little_text_is_refused(tokenizer):
    with pytest.raises(TextError, match="no token to predict"):
        rows([Document("")], tokenizer, 8)
    with pytest.raises(TextError, match="shorter windows"):
        split_held_out(windows([Document("the dog ran")], tokenizer, 8))
    with pytest.raises(SettingError, match="stride"):
        windows([Document("the dog")], tokenizer, 8, stride=9)


def test_held_out_texts_are_apart_and_spread(tokens):
    training, held_out = split_held_out(tokens, share=0.34)
    assert (len(training), len(held_out)) == (4, 2)
    together = torch.cat([training.ids, held_out.ids]).tolist()
    assert sorted(together) == sorted(tokens.ids.tolist())


def test_digests_name_the_content(tokens):
    assert tokens.digest() == tokens[:].digest()
    assert tokens.digest() != tokens[:5].digest()


def test_text_of_the_dense_models_own(pair):
    sampled = finish(sampled_windows(pair.dense, pair.tokenizer, 12, 5, seed=1))
    assert sampled.ids.shape == (5, 12)
    assert (sampled.ids[:, 0] == 0).all()
    assert sampled.scored.sum() == 5 * 11
    again = finish(calibration_tokens("self", pair.dense, pair.tokenizer, length=12, most=5, seed=1))
    assert torch.equal(again.ids, sampled.ids)
    assert not torch.equal(finish(sampled_windows(pair.dense, pair.tokenizer, 12, 5, seed=2)).ids, sampled.ids)
    with pytest.raises(SettingError, match="dense model"):
        read("self")


@pytest.mark.parametrize("model_type", FAMILIES)
def test_a_token_takes_no_more_in_the_cache_than_is_counted(model_type):
    model = make_family(model_type)
    cache = model(torch.randint(3, 30, (2, 7)), use_cache=True).past_key_values
    taken = sum(part.numel() * part.element_size() for layer in cache.layers for part in (layer.keys, layer.values))
    sliding = any("sliding" in type(layer).__name__.lower() for layer in cache.layers)
    assert taken <= 14 * cache_bytes(model) if sliding else taken == 14 * cache_bytes(model)


def test_text_of_a_large_model_is_sampled_in_parts_that_fit_into_memory(pair, monkeypatch):
    at_once = torch.stack([torch.zeros(5, dtype=torch.int64), *generate(pair.dense, torch.zeros(5, 1).long(), 11)], 1)
    assert torch.equal(finish(sampled_windows(pair.dense, pair.tokenizer, 12, 5)).ids, at_once)
    each, batches, steps = 12 * cache_bytes(pair.dense) + 16 * vocabulary_size(pair.dense), [], []
    monkeypatch.setattr("restorelcc.text.calibration.SAMPLING_BYTES", 2 * each)
    with pair.dense.register_forward_pre_hook(lambda _, args: batches.append(len(args[0]))):
        parts = finish(sampled_windows(pair.dense, pair.tokenizer, 12, 5), steps.append).ids
    assert batches == 11 * [2] + 11 * [2] + 11 * [1]
    assert len({tuple(row) for row in parts.tolist()}) == 5
    assert torch.equal(parts[:2], finish(sampled_windows(pair.dense, pair.tokenizer, 12, 2)).ids)
    assert [step.done for step in steps] == [*range(2, 13), *range(14, 25), *range(26, 37)]
    assert steps[-1].total == 36
    monkeypatch.setattr("restorelcc.text.calibration.SAMPLING_BYTES", 1)
    assert finish(sampled_windows(pair.dense, pair.tokenizer, 12, 3)).ids.shape == (3, 12)


def test_windows_fit_the_context(pair):
    assert window_length(pair.dense) == 64
    assert window_length(pair.dense, 10) == 10
    with pytest.raises(SettingError, match="context of 64"):
        window_length(pair.dense, 65)
