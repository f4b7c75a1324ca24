"""Options from a file: a run's config repeats the run, and what is typed wins."""

import json
from pathlib import Path

import pytest
from commands import answer, call
from conftest import rewritten

OPTIONS = ["--steps", 4, "--batch", 3, "--heads", 0.5, "--start", "noise", "--seed", 3, "--windows", 12]

pytestmark = pytest.mark.usefixtures("on_one_thread")


@pytest.fixture
def run(pair_args, tmp_path):
    return Path(answer("restore", *pair_args, *OPTIONS, "--elsewhere", "", "--out", tmp_path / "out")["run"])


def config(run):
    return json.loads((Path(run) / "config.json").read_text())


def written(path, **options):
    path.write_text(json.dumps(options))
    return path


def test_a_runs_config_gives_its_figures_to_the_digit_and_what_is_typed_wins(run, tmp_path):
    again = answer("restore", "--config", run / "config.json", "--out", tmp_path / "again")
    ours, theirs = config(again["run"]), config(run)
    assert ours["figures"] == theirs["figures"]
    assert (ours["settings"], ours["selection"], ours["asked"]) == (
        theirs["settings"], theirs["selection"], theirs["asked"]
    )  # fmt: skip
    trained = [(Path(each) / "training.safetensors").read_bytes() for each in (again["run"], run)]
    assert trained[0] == trained[1]
    fewer = answer("restore", "--config", run / "config.json", "--steps", 2, "--out", tmp_path / "fewer")
    assert config(fewer["run"])["settings"] == theirs["settings"] | {"steps": 2}


def test_a_run_is_repeated_and_what_differs_is_said(run, folders):
    told = answer("repeat", run)
    assert (told["equal"], told["trained_equal"], told["versions"]) == (True, True, {})
    said = config(run)
    said["versions"]["torch"], said["figures"]["recovered_share"] = "1.0", 7.0
    (run / "config.json").write_text(json.dumps(said))
    told = answer("repeat", run.name)
    assert not told["equal"]
    assert [row["figure"] for row in told["differences"]] == ["recovered_share"]
    assert told["versions"]["torch"][0] == "1.0"
    rewritten(folders[1], lambda state: state["model.layers.0.self_attn.o_proj.weight"].mul_(1.01))
    result = call("repeat", run, "--json")
    assert "is not the model that it was made for" in result.stderr
    assert call("repeat", "nothing").stderr.count("\n") == 1


def test_a_run_that_does_not_say_what_was_asked_is_not_repeated_in_part(run):
    said = config(run)
    del said["asked"]
    (run / "config.json").write_text(json.dumps(said))
    result = call("repeat", run)
    assert result.exit_code == 2
    assert "does not say all" in result.stderr


def test_a_run_without_what_was_asked_is_trained_alike_from_its_components(run, tmp_path):
    """As those of a sweep and of earlier versions are."""
    said = config(run)
    wanted = said.pop("asked")
    (run / "config.json").write_text(json.dumps(said))
    again = answer("restore", "--config", run / "config.json", "--elsewhere", "", "--out", tmp_path / "again")
    ours = config(again["run"])
    assert ours["asked"]["text"]["windows"] == wanted["text"]["windows"]
    assert ours["selection"] == said["selection"]
    assert ours["figures"] == said["figures"]


def test_options_of_every_command_come_from_a_file(run, pair_args, folders, tmp_path, text):
    file = run / "config.json"
    judged = answer("evaluate", "--config", file, "--text", text, "--length", 16)
    typed = answer("evaluate", folders[1], "--adapter", run / "adapter", "--against", folders[0], "--text", text,
                   "--length", 16)  # fmt: skip
    assert judged == typed
    found = answer("inspect", "--config", file, "--top", 2)
    typed = answer("inspect", *pair_args, "--seed", 3, "--windows", 12, "--top", 2)
    assert found == typed
    options = written(tmp_path / "prune.json", model=str(folders[0]), method="magnitude", sparsity=0.25)
    pruned = answer("prune", "--config", options, "--out", tmp_path / "sparse")
    assert pruned["sparsity"] == pytest.approx(0.25, abs=0.01)
    assert answer("runs", "--config", written(tmp_path / "runs.json"))["runs"]
    swept = answer("sweep", "--config", file, "--lr", "0.1", "--steps", 2)
    assert len(swept["results"]) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"heads": 0.5, "haeds": 0.5}, "says haeds, which restore does not know"),
        ({"settings": {"rate": 1}}, "settings.rate"),
        ({"steps": "many"}, "'--steps'"),
        ({"loss": "luck"}, "luck"),
        ([1], "no JSON object"),
        (None, "cannot be read"),
    ],
)
def test_what_a_file_says_that_is_not_known_is_one_line(pair_args, tmp_path, content, says):
    file = tmp_path / "options.json"
    if content is not None:
        file.write_text(json.dumps(content))
    result = call("restore", *pair_args, "--config", file, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert says in " ".join(result.stderr.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_a_config_is_checked_without_running_it(run, pair_args, tmp_path, text):
    found = answer("validate", run / "config.json")
    assert (found["windows"], found["held_out"], found["steps"], found["length"]) == (11, 1, 4, 16)
    assert found["heads"] == len(config(run)["selection"]["picks"])
    assert found["seconds"] > 0
    assert len(answer("runs")["runs"]) == 1
    models = {"dense": pair_args[1], "pruned": pair_args[3]}
    for changed, says in (
        ({"pruned": str(tmp_path / "none")}, "none"),
        ({"calibration": str(tmp_path / "no.txt")}, "no.txt"),
        ({"calibration": str(text), "length": 10**6}, "context"),
        ({"calibration": str(text), "length": 16, "epochs": 3, "steps": 3}, "--steps or --epochs"),
    ):
        result = call("validate", written(tmp_path / "asked.json", **(models | changed)))
        assert result.exit_code == 2, changed
        assert says in result.stderr
    assert call("validate", written(tmp_path / "less.json", steps=3)).exit_code == 2


def test_a_budget_is_all_that_is_checked_to_be_trained(pair_args, text, tmp_path):
    models = {"dense": pair_args[1], "pruned": pair_args[3], "calibration": str(text), "length": 16}
    whole = answer("validate", written(tmp_path / "whole.json", **models))
    some = answer("validate", written(tmp_path / "some.json", **models, budget=11))
    assert some["training_bytes"] < whole["training_bytes"]
    assert (whole["heads"], some["heads"]) == (12, None)
    assert "heads for 11 numbers" in call("validate", tmp_path / "some.json").stdout
