"""Options whose values are rows of tables: README lists them, and a value that is none is refused with the list."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from commands import call

from restorelcc.cli.choices import choices_table
from restorelcc.cli.options import app
from restorelcc.restoration.settings import PRESETS
from restorelcc.selection.picks import Selection


def test_readmes_list_is_the_tables():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    between = readme.split("<!-- choices -->")[1].split("<!-- /choices -->")[0]
    assert between.strip() == choices_table()


@pytest.mark.parametrize(
    ("command", "option", "some"),
    [
        ("restore", "--score", ("together_dense", "output_weighted", "random")),
        ("restore", "--loss", ("kl", "ce", "response")),
        ("restore", "--start", ("zero", "noise", "alpha")),
        ("restore", "--unit", ("loss", "activation")),
        ("restore", "--format", ("adapter", "checkpoint")),
        ("sweep", "--score", ("together_dense", "output_weighted", "random")),
        ("prune", "--method", ("wanda", "sparsegpt", "magnitude", "structured")),
        ("prune", "--allocation", ("uniform", "owl")),
    ],
)
def test_what_is_none_of_the_choices_is_refused_with_the_list(pair_args, folders, tmp_path, command, option, some):
    models = [folders[0]] if command == "prune" else pair_args
    out = [] if command == "sweep" else ["--out", tmp_path / "out"]
    result = call(command, *models, *out, option, "luck")
    assert result.exit_code == 2
    said = " ".join(result.stderr.replace("│", " ").split())
    assert f"Invalid value for '{option}': 'luck' is not one of " in said
    assert all(name in said for name in some)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "command", [None, *(entry.name or entry.callback.__name__ for entry in app.registered_commands)]
)
def test_every_command_explains_itself(command):
    """Help is marked up: brackets of a syntax are to be seen, and none is taken for a tag."""
    shown = call(*filter(None, [command]), "--help")
    assert shown.exit_code == 0, shown.output
    assert "Usage" in shown.stdout
    if command is None:
        text = " ".join(shown.stdout.split())
        assert "OWNER/NAME[@REVISION]" in text
        assert "hf:DATASET[/CONFIG][:SPLIT[:COLUMN]]" in text


def test_a_preset_is_all_its_settings_and_what_is_typed_beside_it_wins(pair_args, tmp_path):
    def settings(*options, out):
        result = call("restore", *pair_args, *options, "--out", tmp_path / out, "--json")
        assert result.exit_code == 0, result.output
        run = Path(json.loads(result.stdout)["run"])
        return json.loads((run / "config.json").read_text()), result.stderr

    wanted = PRESETS["paper"].settings
    config, said = settings("--preset", "paper", "--heads", 1, "--batch", 2, "--clip", 0.5, out="a")
    texts = config["calibration"]["windows"]
    counted = replace(wanted, batch=2, clip=0.5).counted(texts)
    assert config["settings"] == json.loads(json.dumps(asdict(counted)))
    assert config["best_step"] == config["steps_done"] == 3 * -(-texts // 2)
    assert "asks no questions: directions are of the last token of every window" in said
    config, _ = settings("--steps", 3, "--preset", "paper", "--keep", "best", "--heads", 1, out="b")
    assert (config["settings"]["steps"], config["settings"]["epochs"], config["settings"]["keep"]) == (3, 0.0, "best")
    config, _ = settings("--preset", "ours", "--steps", 2, "--batch", 2, out="c")
    assert config["settings"]["loss"] == "kl"
    refused = call("restore", *pair_args, "--preset", "luck", "--out", tmp_path / "d")
    assert refused.exit_code == 2
    assert "'luck' is not one of ours, paper" in " ".join(refused.stderr.replace("│", " ").split())


def test_heads_of_the_papers_preset_are_by_probes_of_the_text_itself(pair_args, tmp_path):
    rows = [
        {"prompt": f"{letter} b c {number}", "response": f" d e {letter} f"}
        for number, letter in enumerate("abcdefghij")
    ]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    options = [*pair_args, "--preset", "paper", "--calibration", file, "--length", 24]
    result = call("restore", *options, "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    assert "asks no questions" not in result.stderr
    config = json.loads((Path(json.loads(result.stdout)["run"]) / "config.json").read_text())
    layers, heads, _ = config["selection"]["shape"]
    assert len({tuple(pick[:2]) for pick in _picked(config)}) == round(layers * heads / 4)


def _picked(config):
    return Selection.from_json(json.dumps(config["selection"])).picks
