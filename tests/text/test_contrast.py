"""From sources to questions with a right and a wrong response."""

import json

import numpy as np
import pytest

from restorelcc.errors import TextError
from restorelcc.hf import hub
from restorelcc.text.contrast import ContrastItem, contrast_items


def written(path, *rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.fixture
def questions(tmp_path):
    return written(
        tmp_path / "questions.jsonl",
        {"question": "who ran", "answer": "the big dog ran"},
        {"question": "who sat", "answer": "a cat sat on the mat"},
        {"question": "who else ran", "answer": "the big red dog ran home"},
        {"question": "who was it", "answer": "The big dog ran"},
    )


def served(monkeypatch, rows):
    """A stand-in for the hub; returns what it was asked for."""
    asked = []

    def load_dataset(path, config, split, streaming):
        asked.append((path, config, split, streaming))
        yield from rows

    monkeypatch.setattr(hub, "reachable", lambda: True)
    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    return asked


def test_the_embedded_set_is_as_it_was_written():
    items = contrast_items()
    assert len(items) >= 200
    assert items[0].right == " Tom, and he ran to make it fly."
    assert items[0].wrong == " Mia, and she ran to make it fly."
    assert items[0].prompt.endswith("belonged to")
    assert contrast_items(limit=7) == items[:7]


def test_the_negative_is_the_most_similar_other_response(questions):
    """And never one that says the same: rows 0 and 3 differ in a capital only."""
    wrong = [item.wrong for item in contrast_items(questions)]
    assert wrong[0] == "the big red dog ran home" == wrong[3]
    assert wrong[2] in ("the big dog ran", "The big dog ran")
    assert wrong[1] != "a cat sat on the mat"
    assert contrast_items(questions)[0].prompt == "who ran\n"


def test_every_negative_is_the_nearest_by_a_slow_search(tmp_path):
    """TF-IDF written out in numpy, over responses drawn at random."""
    generator = np.random.default_rng(0)
    words = np.array("dog cat tree house ball park boy girl sun moon".split())
    answers = [" ".join(generator.choice(words, generator.integers(2, 6))) for _ in range(30)]
    rows = [{"prompt": f"q{index}", "response": answer} for index, answer in enumerate(answers)]
    counts = np.array([[answer.split().count(word) for word in words] for answer in answers])
    inverse = np.log((1 + len(answers)) / (1 + (counts > 0).sum(0))) + 1
    vectors = counts * inverse
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    for index, item in enumerate(contrast_items(written(tmp_path / "rows.jsonl", *rows))):
        others = [other for other, answer in enumerate(answers) if answer != answers[index]]
        assert item.wrong != item.right
        assert cosines[index, answers.index(item.wrong)] == pytest.approx(cosines[index, others].max())


def test_given_negatives_are_kept_and_the_nearest_of_several_taken(tmp_path):
    source = written(
        tmp_path / "rows.jsonl",
        {"prompt": "who ran?", "right": " the dog ran", "wrong": "the cat ran"},
        {"prompt": "who sat?", "right": " the boy sat", "wrong": [" a ball", " the girl sat", " the boy sat"]},
        {"prompt": "who hid?", "right": " the boy hid", "wrong": " The boy hid"},
    )
    items = contrast_items(source)
    assert items[0] == ContrastItem("who ran?", " the dog ran", " the cat ran")  # led by a space, as the right one
    assert items[1].wrong == " the girl sat"
    assert items[2].wrong == " the boy sat"  # the one given says the same as the right one


def test_tasks_of_the_hub(monkeypatch):
    asked = served(monkeypatch, [{"passage": "Dogs bark.", "question": "do dogs bark", "answer": True}])
    assert contrast_items("boolq") == [ContrastItem("Dogs bark.\nQuestion: do dogs bark?\nAnswer:", " yes", " no")]
    asked += served(monkeypatch, [{"sentence1": "It rains.", "sentence2": "It is dry.", "label": 1}])
    assert contrast_items("rte") == [
        ContrastItem("It rains.\nQuestion: It is dry. True or False?\nAnswer:", " False", " True")
    ]
    row = {
        "question": "What barks?",
        "choices": {"label": ["A", "B", "C"], "text": ["a stone", "a dog", "a hot dog"]},
        "answerKey": "B",
    }
    asked += served(monkeypatch, [row])
    assert contrast_items("arc-c") == [ContrastItem("Question: What barks?\nAnswer:", " a dog", " a hot dog")]
    alpaca = [
        {"instruction": "add", "input": "1 2", "output": "the sum is 3"},
        {"instruction": "name it", "input": "", "output": "the sum is 4"},
    ]
    more = served(monkeypatch, alpaca)
    assert contrast_items("alpaca") == [
        ContrastItem("add\n1 2\n", "the sum is 3", "the sum is 4"),
        ContrastItem("name it\n", "the sum is 4", "the sum is 3"),
    ]
    assert contrast_items("hf:owner/set/conf:test", limit=2) == contrast_items("alpaca")
    assert asked == [("google/boolq", None, "train", True)]
    assert more[:2] == [("tatsu-lab/alpaca", None, "train", True), ("owner/set", "conf", "test", True)]


@pytest.mark.parametrize("source", ["alpaca", "boolq", "rte", "arc-e", "arc-c", "hf:owner/set"])
def test_the_hub_offline_is_one_line(source):
    with pytest.raises(TextError, match="cannot be reached") as caught:
        contrast_items(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([{"prompt": "who?", "right": " a", "wrong": 3}], "not text"),
        ([{"prompt": "who?", "right": " a", "wrong": [3]}], "not text"),
        ([{"right": " a", "wrong": " b"}], "line 1 is not a question"),
        ([{"text": "the dog"}], "line 1 is not a question"),
        ([{"prompt": "who?", "right": " "}], "line 1 is not a question"),
        ([{"prompt": "who?", "right": " a"}, {"prompt": "what?", "right": " A"}], "same answer"),
        ([], "no question"),
    ],
)
def test_bad_rows_are_named_with_what_is_wrong(tmp_path, rows, says):
    with pytest.raises(TextError, match=says):
        contrast_items(written(tmp_path / "rows.jsonl", *rows))


def test_bad_sources_are_refused(monkeypatch, tmp_path):
    with pytest.raises(TextError, match="no file"):
        contrast_items(str(tmp_path / "none.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "caf\xe9"}')
    with pytest.raises(TextError, match="not UTF-8"):
        contrast_items(str(tmp_path / "latin.jsonl"))
    served(monkeypatch, [{"question": "what?"}])
    with pytest.raises(TextError, match="row 0 is not as boolq"):
        contrast_items("boolq")


def test_what_is_not_asked_is_said_with_figures(tmp_path):
    rows = [{"prompt": f"who ran {number}", "right": f" the {number} dog"} for number in range(8)]
    source = written(tmp_path / "rows.jsonl", {"prompt": "who ran", "right": None}, *rows)
    items = contrast_items(source, limit=5)
    assert len(items) == 5
    assert items.notes == (
        f"1 of 9 rows are no question with an answer and are left out, first {source}, line 1.",
        "The first 5 questions of 9 rows are asked.",
    )
    assert contrast_items().notes == ()
