"""Rows by the names that datasets use: which text in them is meant, and what it answers."""

import json

import pytest

from restorelcc.text.contrast import ContrastItem, contrast_items
from restorelcc.text.records import Document, as_document, documents

TEMPLATE = "Below is an instruction that describes a task.\n\n### Instruction:\nadd\n\n### Response:\n3"


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # Alpaca as the hub has it: the template in `text` is the same once more.
        ({"instruction": "add", "input": "1 2", "output": "3", "text": TEMPLATE}, Document("3", "add\n1 2\n")),
        ({"instruction": "add", "input": "", "output": "3", "text": TEMPLATE}, Document("3", "add\n")),
        ({"instruction": "add", "input": None, "output": "3"}, Document("3", "add\n")),
        ({"instruction": "sum", "context": "1 2", "response": "3"}, Document("3", "sum\n1 2\n")),  # Dolly
        ({"input": "who ran", "output": "a dog"}, Document("a dog", "who ran\n")),
        ({"prompt": "Answer: ", "completion": "a dog"}, Document("a dog", "Answer: ")),
        ({"Question": "who ran", "Answer": "a dog"}, Document("a dog", "who ran\n")),
        ({"question": "how many", "answer": 3}, Document("3", "how many\n")),
        ({"question": "true", "answer": True}, Document("True", "true\n")),
        ({"question": "who ran", "answers": ["a dog", "the dog"]}, Document("a dog", "who ran\n")),
        ({"question": "who", "context": "a dog ran", "answers": {"text": ["a dog"], "answer_start": [0]}},
         Document("a dog", "who\na dog ran\n")),  # SQuAD
        ({"query": "who ran?", "choices": [" a cat", " a dog"], "gold": 1}, Document(" a dog", "who ran?")),
        ({"question": "who", "choices": ["a", "b"], "answer": 0}, Document("a", "who\n")),  # MMLU
        ({"text": "a dog ran", "label": 1}, Document("a dog ran")),
        ({"text": "a dog ran", "answer": "x"}, Document("a dog ran")),
        ({"text": "a dog ran", "context": "x"}, Document("a dog ran")),
        ({"prompt": None, "response": "a dog"}, Document("a dog")),
        ({"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "who ran"},
                       {"role": "assistant", "content": [{"type": "text", "text": "a dog"}]}]},
         Document("a dog", "be brief\nwho ran\n")),
        ({"conversations": [{"from": "human", "value": "who ran"}, {"from": "gpt", "value": "a dog"}]},
         Document("a dog", "who ran\n")),
        # Nothing to read.
        ({"instruction": "add", "input": "", "output": None, "text": TEMPLATE}, None),
        ({"instruction": "add", "input": ""}, None),
        ({"question": "how many", "answer": float("nan")}, None),
        ({"messages": [{"role": "user", "content": "who ran"}]}, None),
        ({"text": 3}, None),
        ({"text": {"text": "x"}}, None),
    ],
)  # fmt: skip
def test_what_a_row_says(row, expected):
    assert as_document(row, "", "here") == expected


def test_rows_with_and_without_prompts_may_stand_together():
    rows = [("0", {"prompt": "who", "response": "a dog"}), ("1", {"text": "a dog ran"}), ("2", {"prompt": "who"})]
    found, notes = documents(rows)
    assert found == [Document("a dog", "who\n"), Document("a dog ran")]
    assert notes == ("1 of 3 rows hold no text and are left out, first 2.",)


def test_contrast_items_of_alpaca_as_it_is(tmp_path):
    rows = [
        {"instruction": "add", "input": "1 2", "output": "the sum is 3", "text": TEMPLATE},
        {"instruction": "none", "input": "", "output": "", "text": TEMPLATE},
        {"instruction": "name it", "input": "", "output": "the sum is 4", "text": TEMPLATE},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert contrast_items(str(tmp_path / "a.jsonl")) == [
        ContrastItem("add\n1 2\n", "the sum is 3", "the sum is 4"),
        ContrastItem("name it\n", "the sum is 4", "the sum is 3"),
    ]


def test_wrong_answers_are_the_other_choices(tmp_path):
    row = {"query": "who ran?", "choices": [" a cat", " the dog", " a dog"], "gold": 1}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert contrast_items(str(tmp_path / "a.jsonl")) == [ContrastItem("who ran?", " the dog", " a dog")]
