"""Options whose values are rows of tables: README lists them, and a value that is none is refused with the list."""

from pathlib import Path

import pytest
from commands import call

from restorelcc.cli.choices import choices_table
from restorelcc.cli.options import app


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
