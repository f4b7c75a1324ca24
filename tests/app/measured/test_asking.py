"""Questions on the Compare page: asked as a job, shown, kept with the run; what is not asked says why."""

import json
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest
from conftest import WORDS, quick
from streamlit.testing.v1 import AppTest

from app.session import state
from app.values import rules
from app.work import open_pairs
from app.work.jobs import State, jobs
from app.work.measured import speed, tasks
from restorelcc.artifacts.findings import Recipe, recipe_written
from restorelcc.artifacts.runs import keep_measured, load_run, save_run
from restorelcc.compensation.interface import compensated
from restorelcc.errors import SettingError, TextError
from restorelcc.evaluation.tasks.harness import answered, prepared
from restorelcc.evaluation.tasks.rows import questions_in
from restorelcc.progress import finish

MAIN = str(Path(__file__).parents[3] / "app" / "shell" / "rerun.py")
OWNER = "somebody"


@pytest.fixture
def run(workspace, pair, lost, monkeypatch):
    monkeypatch.setitem(open_pairs._open, Recipe(), workspace)
    about = {"dense": "demo", "pruned": "wanda 60 %", "recipe": recipe_written(workspace.recipe), "owner": OWNER}
    return save_run(finish(quick(pair, lost).run()), pair.geometry, "some", about)


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    pairs = [{"sentence_good": f"the {word} ran", "sentence_bad": f"ran {word} the"} for word in WORDS[3:9]]
    path.write_text("".join(json.dumps(row) + "\n" for row in pairs))
    return path


def opened() -> AppTest:
    app = AppTest.from_file(MAIN, default_timeout=60)
    app.session_state["studio"] = state.Session(owner=OWNER)
    app.run()
    app.switch_page("../../pages/compare.py").run()
    assert not app.exception
    return app


def shown(app):
    return [table.value for table in app.dataframe if "questions" in table.value or "gained" in table.value]


def asked(file="", uploaded=None):
    return tasks.Asked((), str(file), uploaded, 100)


def test_the_three_models_are_asked_shown_and_kept_with_the_run(workspace, run, rows):
    app = opened()
    assert shown(app) == []
    app.text_input(key="tasks-file").set_value(str(rows)).run()
    app.number_input(key="tasks-limit").set_value(5).run()
    app.button(key="ask").click().run()
    job = jobs.find(tasks.key(workspace, run))
    assert job is not None
    assert job.wait(60)
    assert job.state == State.DONE, job.error
    pair, back = workspace.pair(), run.adapter().compensation
    models = {"dense": (pair.dense, nullcontext), "pruned": (pair.pruned, nullcontext)}
    models["restored"] = (pair.pruned, partial(compensated, pair.pruned, back))
    (expected,) = finish(answered(models, pair.tokenizer, prepared([questions_in(str(rows))]), 5))
    assert load_run(run.folder).config["tasks"] == [expected.figures()]
    app.run()
    accuracies, differences = shown(app)
    found = expected.accuracy("restored")
    assert accuracies["restored"][0].startswith(f"{100 * found.value:.1f} ± {100 * found.stderr:.1f} %")
    assert list(differences["models"]) == ["pruned − dense", "restored − pruned", "restored − dense"]
    assert differences["points"][1] == pytest.approx(100 * expected.difference("restored", "pruned").value)


def test_what_was_asked_before_is_there_again_while_no_pair_is_open(run, monkeypatch):
    answers = {"acc": 0.6, "acc_stderr": None, "within_chance": True}
    row = {"task": "piqa", "metric": "acc", "questions": 1, "chance": 0.5, "models": {"dense": answers}, "paired": []}
    keep_measured(run, {"tasks": [row]})
    monkeypatch.setattr("app.values.run_facts.recipe_of", lambda run: Recipe(dense="away", pruned="away"))
    app = opened()
    (table,) = shown(app)
    assert (table["task"][0], table["dense"][0]) == ("PIQA", "60.0 % *")
    assert any("within chance" in text.value and "PIQA (dense)" in text.value for text in app.caption)
    assert load_run(run.folder).fault == ""


def test_a_garbled_answer_is_named_as_damage_and_leaves_the_page_whole(run):
    keep_measured(run, {"tasks": [{"task": "piqa", "models": 3}]})
    assert "tasks is not what it should be" in load_run(run.folder).fault
    assert shown(opened()) == []


def test_the_three_models_are_timed_and_that_is_kept_too(workspace, run):
    app = opened()
    app.button(key="time-models").click().run()
    job = jobs.find(speed.key(workspace, run))
    assert job is not None
    assert job.wait(60)
    assert job.state == State.DONE, job.error
    kept = load_run(run.folder)
    assert (kept.config["speed"], kept.fault) == (job.result, "")
    assert [*kept.config["speed"]["models"]] == ["dense", "pruned", "restored"]
    app.run()
    (table,) = [table.value for table in app.dataframe if "weights" in table.value]
    assert list(table["model"]) == ["dense", "pruned", "restored"]
    assert any("of pruned's prefill" in text.value for text in app.caption)


def test_a_garbled_timing_is_named_as_damage(run):
    rate = dict.fromkeys(("median", "low", "high"), 1.0)
    timed = {"prefill": rate, "decode": rate, "weights_bytes": 3}
    sound = {"prompt": 8, "new": 4, "rounds": 2, "machine": "cpu", "models": {"restored": timed}}
    models = [timed | {"prefill": "fast"}, timed | {"against_pruned": 1}]
    for bad in ({}, {"models": 3}, *({"models": {"a": each}} for each in models)):
        keep_measured(run, {"speed": sound | bad if bad else bad})
        assert "speed is not what it should be" in load_run(run.folder).fault
    assert not [table for table in opened().dataframe if "weights" in table.value]
    keep_measured(run, {"speed": sound})
    assert load_run(run.folder).fault == ""


def test_of_one_task_the_newest_answers_stay():
    before, now = [{"task": "a", "x": 1}, {"task": "b", "x": 1}], [{"task": "a", "x": 2}]
    assert tasks.together(before, now) == [{"task": "b", "x": 1}, {"task": "a", "x": 2}]


def test_bad_rows_and_nothing_at_all_are_refused_before_any_work(workspace, run):
    for bad, says in (
        (b'{"query": "a"}\n', "line 1 has no choices"),
        (b"{\n", "line 1 is not JSON"),
        (b"\xff", "UTF-8"),
    ):
        with pytest.raises(TextError, match=says):
            tasks.submit(workspace, run, asked(uploaded=("mine.jsonl", bad)), OWNER)
    with pytest.raises(SettingError, match="Choose a task"):
        tasks.submit(workspace, run, asked(), OWNER)
    app = opened()
    app.button(key="ask").click().run()
    assert any("Choose a task" in error.value for error in app.error)


def test_a_shared_server_reads_no_files_and_keeps_nothing_for_strangers(workspace, run, rows, monkeypatch):
    monkeypatch.setattr(rules, "given", lambda: rules.CLOSED)
    with pytest.raises(SettingError, match="reads no text files"):
        tasks.submit(workspace, run, asked(rows), OWNER)
    with pytest.raises(SettingError, match="nothing from the Hugging Face hub"):
        tasks.submit(workspace, run, tasks.Asked(("piqa",), "", None, 5), OWNER)
    job = tasks.submit(workspace, run, asked(uploaded=("mine.jsonl", rows.read_bytes())), "a stranger")
    assert job.wait(60)
    assert [row["task"] for row in job.result] == ["mine.jsonl"], job.error
    assert "tasks" not in load_run(run.folder).config
