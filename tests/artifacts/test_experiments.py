"""Comparisons of methods on disk: what is written reads back, what is summed up is right, what is none is refused."""

import json
import math
from pathlib import Path

import pytest
from conftest import make_tokens

from restorelcc.artifacts.experiments import (
    both_errors,
    discard_experiment,
    experiment,
    experiment_table,
    experiments_folder,
    given_experiment,
    keep_experiment,
    list_experiments,
    new_file,
    read_experiment,
    shipped_experiments,
)
from restorelcc.artifacts.findings import Recipe
from restorelcc.errors import LoadError
from restorelcc.progress import Progress
from restorelcc.restoration.baselines.comparing import Failure, compared
from restorelcc.restoration.baselines.methods import METHODS
from restorelcc.restoration.baselines.rival import Task
from restorelcc.selection.picks import everything

BUDGET = {"steps": 2, "batch": 2, "seeds": 2}


def result(method, seed, share, error=0.02, **more):
    return {
        "method": method, "seed": seed, "recovered_share": share, "share_stderr": error, "nearer": None,
        "nearer_stderr": None, "elsewhere": {"recovered_share": 0.5, "share_stderr": None, "nearer": 0.25,
        "nearer_stderr": 0.1}, "trained_parameters": 10, "tokens": 4, "seconds": 1.0 + seed, "peak_bytes": None,
        "zeros": 8, "kept_zeros": 4, "multiplications_beside": 3, "free_at_inference": False,
    } | more  # fmt: skip


def document(*results):
    return {
        "pair": {"dense": "demo", "pruned": "wanda 60 %"}, "texts": {"there": "demo", "elsewhere": None},
        "budget": dict(BUDGET), "results": list(results), "stopped": False,
    }  # fmt: skip


@pytest.fixture(scope="module")
def rows(pair, lost):
    task = Task(pair, lost, everything(lost.shape), make_tokens(8), make_tokens(4, seed=3), 2, 2)
    texts = {"there": make_tokens(4, seed=5), "elsewhere": make_tokens(3, seed=6)}
    return [step for step in compared(task, ["restorelcc", "mean-bias"], 2, texts) if not isinstance(step, Progress)]


def test_what_is_kept_reads_back_and_is_what_was_measured(rows):
    refused = Failure("ridge", 0, "It has fewer weights.")
    found = keep_experiment(experiment(Recipe(), BUDGET, [*rows, refused], 5, owner="me"), new_file("demo wanda 60 %"))
    (again,), wrong = list_experiments()
    assert wrong == []
    assert again.facts == json.loads(found.written()) == given_experiment(found.written().encode()).facts
    assert again.file == found.file
    assert again.pair == ("demo", "wanda 60 %")
    assert again.stopped
    assert (again.windows("there"), again.windows("elsewhere")) == (4, 3)
    assert again.refusals == [(METHODS["ridge"].title, "It has fewer weights.")]
    table = again.table()
    assert list(table["method"]) == ["restorelcc", "mean-bias"]
    assert list(table["seeds"]) == [2, 1]
    ours = [row for row in rows if row.method == "restorelcc"]
    assert table["nearer"][0] == pytest.approx(sum(row.there.nearer.value for row in ours) / 2)
    assert table["nearer_elsewhere"][1] == pytest.approx(rows[1].elsewhere.nearer.value)
    assert list(table["kept"]) == [1.0, 1.0]
    assert list(table["free"]) == [True, True]
    discard_experiment(again)
    assert list_experiments() == ([], [])


def test_means_errors_and_what_is_not_known():
    found = read_experiment(document(result("lora", 0, 0.2), result("lora", 1, 0.4), result("eora", 0, None, None)))
    table = found.table()
    row = table.iloc[0]
    assert row["recovered"] == pytest.approx(0.3)
    assert row["recovered_stderr"] == pytest.approx(0.02)
    assert row["recovered_seeds"] == pytest.approx(0.1)
    assert next(iter(both_errors(table, "recovered"))) == pytest.approx(0.1)
    assert row["seconds"] == 1.5
    assert (row["kept"], row["free"], row["beside"]) == (0.5, False, 3)
    assert math.isnan(row["nearer"])
    assert math.isnan(row["peak"])
    assert math.isnan(row["elsewhere_stderr"])
    assert math.isnan(table["recovered"][1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda doc: doc.pop("budget"), "budget does not name"),
        (lambda doc: doc["budget"].update(steps=0), "steps is 0"),
        (lambda doc: doc.update(format=99), "format 99"),
        (lambda doc: doc.update(results=[]), "no results"),
        (lambda doc: doc["results"][0].pop("method"), "name its method"),
        (lambda doc: doc["results"][0].update(seconds="long"), "seconds is 'long'"),
        (lambda doc: doc["results"][0].update(nearer=True), "nearer is True"),
        (lambda doc: doc["results"][0].update(zeros=-1), "zeros is -1"),
        (lambda doc: doc["results"][0].update(elsewhere=3), "elsewhere is no object"),
    ],
)
def test_what_is_no_comparison_is_refused_in_a_line(change, said):
    wrong = document(result("lora", 0, 0.2))
    change(wrong)
    with pytest.raises(LoadError, match=said) as refused:
        read_experiment(wrong)
    assert "\n" not in str(refused.value)
    for content in (b"\xff", b"[1, 2]", b"{", b'"x"'):
        with pytest.raises(LoadError):
            given_experiment(content)


def test_damaged_files_are_named_and_leave_the_others():
    kept = keep_experiment(read_experiment(document(result("lora", 0, 0.2))), new_file("a"))
    (experiments_folder() / "damaged.json").write_text("{")
    found, wrong = list_experiments()
    assert [each.file for each in found] == [kept.file]
    assert len(wrong) == 1
    assert wrong[0].startswith("damaged.json: ")


def test_readme_shows_those_that_come_along():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    between = readme.split("<!-- experiments -->")[1].split("<!-- /experiments -->")[0].strip()
    assert between == "\n\n".join(map(experiment_table, shipped_experiments()))


def test_those_that_come_along_are_of_every_method():
    for found in shipped_experiments():
        assert not found.stopped
        assert set(found.table()["method"]) == set(METHODS)
