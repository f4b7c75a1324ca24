"""`evaluate` against a plain loop over the same windows, for every kind of tokenizer, and for the usual protocol."""

import math

import pytest
import torch
from commands import answer, call
from conftest import make_model
from families import make_family
from tokenizer_kinds import KINDS, sentencepiece_like

from restorelcc.hf import hub

TEXT = "Once upon a time there was a dog — his name was Où. 你好 😀!\n\n  He ran in the park, and 42 cats ran\ttoo.\n"


def by_hand(model, lines, unscored=()):
    """exp of the mean NLL of every token but the first of each line."""
    total, count = 0.0, 0
    for line in lines:
        with torch.no_grad():
            logits = model(torch.tensor([line])).logits[0].double().log_softmax(-1)
        for position in range(1, len(line)):
            if line[position] not in unscored:
                total -= float(logits[position - 1, line[position]])
                count += 1
    return math.exp(total / count), count


def cut(ids, length):
    return [ids[start : start + length] for start in range(0, len(ids), length)]


def saved(folder, model, tokenizer):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_evaluate_is_a_plain_loop_over_the_windows(kind, tmp_path):
    tokenizer = KINDS[kind]()
    model = make_model(vocab_size=len(tokenizer))
    (tmp_path / "text.txt").write_text((TEXT + "<|endoftext|>\n") * 5)
    before = {"WordLevel": [0], "byte BPE": [0], "SentencePiece-like": [1]}[kind]
    story = tokenizer(TEXT.strip(), add_special_tokens=False).input_ids
    lines = cut((before + story) * 5, 32)
    expected, count = by_hand(model, lines, unscored={1} if kind == "SentencePiece-like" else ())
    found = answer(
        "evaluate", saved(tmp_path / "model", model, tokenizer), "--text", tmp_path / "text.txt", "--length", 32
    )
    assert found["perplexity"] == pytest.approx(expected, rel=1e-6)
    assert (found["tokens"], found["windows"], found["length"]) == (count, len(lines), 32)


def test_evaluate_of_gemma_begins_every_window_as_the_model_needs_it(tmp_path):
    tokenizer = sentencepiece_like()
    model = make_family("gemma2", vocab_size=len(tokenizer))
    (tmp_path / "text.txt").write_text(TEXT * 5)
    ids = tokenizer((TEXT * 5).strip(), add_special_tokens=False).input_ids
    expected, count = by_hand(model, [[1, *line] for line in cut(ids, 31)])
    found = answer(
        "evaluate", saved(tmp_path / "model", model, tokenizer), "--text", tmp_path / "text.txt", "--length", 32
    )
    assert found["perplexity"] == pytest.approx(expected, rel=1e-6)
    assert found["tokens"] == count == len(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_wikitext_follows_the_usual_protocol(kind, tmp_path, monkeypatch):
    """The split as one text, its lines joined by blank lines; what the tokenizer itself puts before it, and no more."""
    lines = ["", " = Dog = \n", "", " The dog ran in the park . \n", " A cat sat . \n", ""] * 9
    monkeypatch.setattr(hub, "reachable", lambda: True)
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: ({"text": line} for line in lines))
    tokenizer = KINDS[kind]()
    model = make_model(vocab_size=len(tokenizer))
    folder = saved(tmp_path / "model", model, tokenizer)
    windows = cut(tokenizer("\n\n".join(lines)).input_ids, 32)
    expected, count = by_hand(model, windows)
    found = answer("evaluate", folder, "--text", "wikitext2", "--length", 32)
    assert found["perplexity"] == pytest.approx(expected, rel=1e-6)
    assert found["tokens"] == count
    assert "usual protocol" in found["notes"][-1]
    said = call("evaluate", folder, "--text", "wikitext2", "--length", 32).stdout
    assert f"on wikitext2, over {count} tokens in {len(windows)} windows of 32" in said
    assert "usual protocol" in said
    assert "usual protocol" not in call("evaluate", folder, "--text", "wikitext2", "--length", 32, "--stride", 8).stdout


def test_rows_beyond_the_limit_are_said_with_figures(tmp_path, monkeypatch):
    tokenizer = KINDS["WordLevel"]()
    folder = saved(tmp_path / "model", make_model(vocab_size=len(tokenizer)), tokenizer)
    monkeypatch.setattr(hub, "reachable", lambda: True)
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: ({"text": "the dog"} for _ in range(5_001)))
    found = answer("evaluate", folder, "--text", "c4", "--length", 60)
    assert found["tokens"] == 5_000 * 3 - 250  # the first of each window is not scored
    assert found["notes"] == ["The first 5,000 rows of hf:allenai/c4/en:validation:text are read; there are more."]
    (tmp_path / "a.jsonl").write_text('{"text": "the dog ran"}\n{"text": null}\n' * 3)
    found = answer("evaluate", folder, "--text", tmp_path / "a.jsonl", "--length", 8)
    assert found["notes"] == [f"3 of 6 rows hold no text and are left out, first {tmp_path}/a.jsonl, line 2."]
    assert found["tokens"] == 3 * 4 - 2
