"""Questions asked of models through lm-eval: its scoring, errors, pairs, chance. All that needs lm-eval, which takes
seconds to import, is in here."""

import json
import math
from contextlib import nullcontext
from functools import partial

import datasets
import pytest
import torch
from commands import answer, call
from conftest import WORDS, make_tokenizer, noisy

from restorelcc.artifacts.export import save_adapter
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.errors import NotFinite, SettingError, TextError
from restorelcc.evaluation.tasks.harness import answered, manager, prepared
from restorelcc.evaluation.tasks.known import TASKS
from restorelcc.evaluation.tasks.results import TaskResult
from restorelcc.evaluation.tasks.rows import asked_for, questions, questions_in
from restorelcc.progress import finish

PAIRS = [
    {"sentence_good": "the cat ran to the tree", "sentence_bad": "tree the to ran cat the"},
    {"sentence_good": "a girl had a big red ball", "sentence_bad": "a girl had big a red ball"},
    {"sentence_good": "mom said happy day", "sentence_bad": "happy mom day said one time"},
    {"sentence_good": "the dog saw the house", "sentence_bad": "the dog the saw house"},
]
QUESTIONS = [
    {"query": "the boy ran to the", "choices": ["park", "big blue house", "sad"], "gold": 1},
    {"query": "once upon a", "choices": ["time", "dog and cat"], "gold": 0},
    {"query": "mom and", "choices": ["dad", "the sun had one ball", "was"], "gold": 0},
]


def written(folder, name, rows):
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def back(pair):
    shape = Constants.none(pair.geometry).added.shape
    return Constants(torch.randn(*shape, generator=torch.Generator().manual_seed(3)))


def three(pair, back):
    return {
        "dense": (pair.dense, nullcontext),
        "pruned": (pair.pruned, nullcontext),
        "restored": (pair.pruned, partial(compensated, pair.pruned, back)),
    }


@torch.no_grad()
def likelihood(model, tokenizer, before, after):
    """ln p(after | <s> or before), token by token, the plain way."""
    context = tokenizer.encode(before) if before else [tokenizer.bos_token_id]
    ids = torch.tensor([context + tokenizer.encode(after)])
    logs = model(ids).logits[0, :-1].log_softmax(-1)
    return sum(float(logs[at - 1, ids[0, at]]) for at in range(len(context), ids.shape[1]))


def best(row):
    return max(range(len(row)), key=row.__getitem__)


def answers(logs):
    return zip(logs, QUESTIONS, strict=True)


def test_the_three_models_are_told_right_as_likelihoods_say(pair, back, tokenizer, tmp_path):
    files = [written(tmp_path, "pairs.jsonl", PAIRS), written(tmp_path, "own.jsonl", QUESTIONS)]
    tasks = prepared(asked_for(",".join(map(str, files))))
    pairs, own = finish(answered(three(pair, back), tokenizer, tasks))
    assert (pairs.task, pairs.metric, own.task, own.metric) == ("pairs.jsonl", "acc", "own.jsonl", "acc_norm")
    differ = set()
    for name, (model, within) in three(pair, back).items():
        with within():
            likelier = [
                likelihood(model, tokenizer, "", row["sentence_good"])
                > likelihood(model, tokenizer, "", row["sentence_bad"])
                for row in PAIRS
            ]
            logs = [[likelihood(model, tokenizer, row["query"], each) for each in row["choices"]] for row in QUESTIONS]
        assert pairs.right[name]["acc"].bool().tolist() == likelier
        best = [
            max(range(len(row)), key=row.__getitem__) == of["gold"] for row, of in zip(logs, QUESTIONS, strict=True)
        ]
        assert own.right[name]["acc"].bool().tolist() == best
        per = [
            [x / len(c) for x, c in zip(row, of["choices"], strict=True)]
            for row, of in zip(logs, QUESTIONS, strict=True)
        ]
        best = [max(range(len(row)), key=row.__getitem__) == of["gold"] for row, of in zip(per, QUESTIONS, strict=True)]
        assert own.right[name]["acc_norm"].bool().tolist() == best
        differ.add((*likelier, *own.right[name]["acc"].tolist()))
    assert len(differ) > 1, "models that answer alike would show nothing"
    assert own.guessed.tolist() == pytest.approx([1 / 3, 1 / 2, 1 / 3])


def test_figures_are_those_of_lm_eval_itself(pair, tokenizer, tmp_path):
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    (task,) = prepared(asked_for(str(written(tmp_path, "own.jsonl", QUESTIONS))))
    (ours,) = finish(answered({"model": (pair.dense, nullcontext)}, tokenizer, [task]))
    lm = HFLM(pretrained=pair.dense, backend="causal", tokenizer=make_tokenizer(), max_length=64)
    alone = manager(TASKS["piqa"])  # that it need not look through all that it knows
    theirs = simple_evaluate(lm, tasks=list(task.parts), bootstrap_iters=100, task_manager=alone)
    theirs = theirs["results"]["own.jsonl"]
    for metric in ("acc", "acc_norm"):
        found = ours.accuracy("model", metric)
        assert (found.value, found.stderr) == pytest.approx((theirs[f"{metric},none"], theirs[f"{metric}_stderr,none"]))


def test_a_limit_takes_the_first_questions_and_leaves_models_and_tokenizer_alone(pair, back, tokenizer, tmp_path):
    before = [parameter.clone() for parameter in pair.pruned.parameters()]
    padding = tokenizer.pad_token
    (task,) = prepared(asked_for(str(written(tmp_path, "pairs.jsonl", PAIRS))))
    (some,) = finish(answered(three(pair, back), tokenizer, [task], limit=3))
    (all_of_them,) = finish(answered(three(pair, back), tokenizer, [task]))
    for name in some.right:
        assert some.right[name]["acc"].tolist() == all_of_them.right[name]["acc"][:3].tolist()
    assert all(torch.equal(now, then) for now, then in zip(pair.pruned.parameters(), before, strict=True))
    assert tokenizer.pad_token == padding
    with pytest.raises(SettingError, match="1 or more"):
        finish(answered(three(pair, back), tokenizer, [task], limit=0))


def test_infinite_numbers_are_no_answers(pair, tokenizer, tmp_path):
    broken = noisy(pair.dense)
    next(broken.parameters()).data.fill_(float("inf"))
    (task,) = prepared(asked_for(str(written(tmp_path, "pairs.jsonl", PAIRS))))
    with pytest.raises(NotFinite):
        finish(answered({"model": (broken, nullcontext)}, tokenizer, [task]))


def test_without_the_hub_a_known_task_is_one_clear_line():
    with pytest.raises(TextError, match="ARC, easy is on the Hugging Face hub, which cannot be reached"):
        prepared(["arc_easy"])


def test_a_known_task_is_asked_as_lm_eval_asks_it(pair, tokenizer, tmp_path, monkeypatch):
    """Its data in the hub's shape, its answers as of rows of one's own with the same words."""
    label = {"label": ["A", "B"], "text": ["big blue house", "sad"]}
    row = {"question": "where had the boy", "choices": label, "answerKey": "B"}
    data = datasets.Dataset.from_list([row, row | {"answerKey": "A"}])
    monkeypatch.setattr("datasets.load_dataset", lambda **_: dict.fromkeys(("train", "validation", "test"), data))
    monkeypatch.setattr("restorelcc.hf.hub.reachable", lambda: True)
    words = {"query": "Question: where had the boy\nAnswer:", "choices": label["text"]}
    path = written(tmp_path, "own.jsonl", [words | {"gold": 1}, words | {"gold": 0}])
    tasks = prepared(["arc_easy", questions_in(str(path))])
    known, own = finish(answered({"model": (pair.dense, nullcontext)}, tokenizer, tasks))
    assert known.right["model"]["acc_norm"].tolist() == own.right["model"]["acc_norm"].tolist()
    assert (known.metric, known.questions, known.chance) == ("acc_norm", 2, 0.5)


# --- errors and pairs -------------------------------------------------------------------------------------------


def result(choices=2, **right):
    tensors = {name: {"acc": torch.tensor(values, dtype=torch.float64)} for name, values in right.items()}
    count = len(next(iter(right.values())))
    return TaskResult("t", "acc", tensors, torch.full((count,), 1 / choices, dtype=torch.float64))


def test_pairs_say_more_than_errors_of_each():
    before = [1.0, 0.0] * 200
    after = [1.0] * 12 + before[12:]
    found = result(pruned=before, restored=after)
    step = found.difference("restored", "pruned")
    assert (step.gained, step.lost) == (6, 0)
    assert step.value == pytest.approx(6 / 400)
    assert step.p == pytest.approx(2 * 0.5**6), "McNemar: six out of six go one way"
    assert step.stderr < found.accuracy("pruned").stderr / 3
    back = found.difference("pruned", "restored")
    assert (back.value, back.p) == (pytest.approx(-step.value), step.p)
    same = found.difference("pruned", "pruned")
    assert (same.value, same.stderr, same.p) == (0, 0, 1)


@pytest.mark.parametrize(
    ("choices", "share", "within"),
    [(2, 0.53, True), (2, 0.62, False), (4, 0.27, True), (4, 0.5, False), (4, 0.1, False)],
)
def test_chance_is_that_of_the_number_of_choices(choices, share, within):
    right = [1.0] * round(share * 300) + [0.0] * (300 - round(share * 300))
    found = result(choices, model=right)
    assert found.accuracy("model").within_chance == within
    assert found.chance == pytest.approx(1 / choices)
    assert found.accuracy("model").stderr == pytest.approx(math.sqrt(share * (1 - share) / 299), rel=0.02)


def test_figures_name_who_was_asked_and_the_pairs_of_them():
    found = result(dense=[1, 1, 1, 0], pruned=[1, 0, 0, 0], restored=[1, 1, 0, 0]).figures()
    assert json.loads(json.dumps(found)) == found
    assert [(row["model"], row["against"]) for row in found["paired"]] == [
        ("pruned", "dense"),
        ("restored", "pruned"),
        ("restored", "dense"),
    ]
    assert found["models"]["pruned"]["acc"] == 0.25
    assert result(model=[1, 0]).figures()["paired"] == []


# --- rows of one's own ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"query": "the", "choices": ["a"], "gold": 0}, "two or more"),
        ({"query": "the", "choices": ["a", "b"], "gold": 2}, "gold is '2'.* 0 to 1"),
        ({"query": "the", "choices": ["a", "b"], "gold": True}, "gold"),
        ({"query": "the", "choices": ["a", "b"], "gold": "b"}, "gold"),
        ({"query": "the", "choices": ["a", " "], "gold": 0}, "choice 1"),
        ({"query": None, "choices": ["a", "b"], "gold": 0}, "query"),
        ({"choices": ["a", "b"]}, "no query and no gold"),
        ({"sentence_good": "a dog", "sentence_bad": ""}, "sentence_bad is empty"),
        ({"sentence_good": "a dog", "sentence_bad": "a dog"}, "same sentence"),
        (["the"], "no object"),
        ({"query": "the", "choices": ["a", "b"], "gold": 0}, "another kind"),
    ],
)
def test_a_bad_row_is_named(row, says, tmp_path):
    good = [PAIRS[0]] if "same" in says or "another" in says or "sentence" in says else [QUESTIONS[0]]
    path = written(tmp_path, "rows.jsonl", [*good, row])
    with pytest.raises(TextError, match=rf"line 2.*{says}") as refused:
        questions_in(str(path))
    assert "\n" not in str(refused.value)


def test_what_is_no_task_is_refused_with_what_there_is(tmp_path):
    plain = tmp_path / "text.txt"
    plain.write_text("the cat")
    for listed, says in (("arc_eazy", "arc_easy"), ("", "No task"), (str(plain), "plain text")):
        with pytest.raises((SettingError, TextError), match=says):
            asked_for(listed)
    with pytest.raises(TextError, match="no questions"):
        questions("empty.jsonl", [])
    assert asked_for("piqa, piqa,rte") == ["piqa", "rte"]


@pytest.mark.parametrize("name", TASKS)
def test_every_known_task_is_one_of_lm_eval(name):
    found = manager(TASKS[name])
    assert name in found.all_tasks


def test_words_that_look_like_templates_are_words(pair, tokenizer, tmp_path):
    rows = [{"query": "the {{ gold }} " + WORDS[4], "choices": ["{% if %}", "dog"], "gold": 1}]
    (task,) = prepared([questions_in(str(written(tmp_path, "own.jsonl", rows)))])
    (found,) = finish(answered({"model": (pair.dense, nullcontext)}, tokenizer, [task]))
    assert found.questions == 1


# --- on the command line ----------------------------------------------------------------------------------------


def test_evaluate_asks_all_three_at_once(pair, back, folders, tmp_path):
    dense, pruned = folders
    save_adapter(tmp_path / "adapter", back, pair.geometry, {}, pair.pruned)
    files = f"{written(tmp_path, 'pairs.jsonl', PAIRS)},{written(tmp_path, 'own.jsonl', QUESTIONS)}"
    asked = ["evaluate", pruned, "--adapter", tmp_path / "adapter", "--against", dense, "--tasks", files]
    found = answer(*asked)
    direct = finish(answered(three(pair, back), pair.tokenizer, prepared(asked_for(files))))
    assert found["tasks"] == [result.figures() for result in direct]
    told = call(*asked, "--limit", "2").stdout
    for words in ("pairs.jsonl (acc)", "own.jsonl (acc_norm)", "restored − pruned", "within chance", "McNemar"):
        assert words in told
    alone = answer("evaluate", pruned, "--tasks", files, "--limit", "2")
    assert alone["limit"] == 2
    assert [(list(task["models"]), task["questions"], task["paired"]) for task in alone["tasks"]] == [
        (["model"], 2, [])
    ] * 2


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--tasks", "arc_easy", "--text", "demo"], "--text would do nothing"),
        (["--limit", "3"], "--limit would do nothing"),
        (["--tasks", "piqa"], "PIQA is on the Hugging Face hub"),
        (["--tasks", "nothing"], "is no task and no file"),
    ],
)
def test_what_cannot_be_asked_is_one_line(options, says, folders):
    refused = call("evaluate", folders[0], *options)
    assert (refused.exit_code, refused.stderr.count("\n"), refused.stdout) == (2, 1, "")
    assert says in refused.stderr
