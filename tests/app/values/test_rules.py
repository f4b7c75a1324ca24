"""What whoever starts the server says of it: on its command line, and in a file."""

import pytest

from app.values import rules
from app.values.rules import CLOSED, OPEN, Rules


@pytest.mark.parametrize(
    ("address", "names", "alone"),
    [
        ("127.0.0.1", ["localhost", "127.0.0.1", "::1"], True),
        ("localhost", [], True),
        ("::1", ["[::1]"], True),
        ("127.0.0.1", ["localhost", "studio.example"], False),  # behind a proxy
        ("127.0.0.1", ["*"], False),
        ("127.0.0.1", ["localhost.studio.example"], False),
        ("0.0.0.0", ["localhost"], False),
        ("::", [], False),
        ("192.168.1.4", ["localhost"], False),
        (None, [], False),  # every interface
        ("", ["localhost"], False),
    ],
)
def test_without_a_file_only_a_server_that_nobody_else_reaches_is_open(monkeypatch, address, names, alone):
    monkeypatch.setattr(rules, "_given", None)
    rules.give(None, address, names)
    assert rules.given() == (OPEN if alone else CLOSED)


def test_a_file_says_what_differs_from_closed(tmp_path, monkeypatch):
    (tmp_path / "models").mkdir()
    (tmp_path / "real").mkdir()
    (tmp_path / "texts").symlink_to(tmp_path / "real")
    file = tmp_path / "studio.toml"
    file.write_text('[studio]\nmodels = ["models"]\ntexts = "texts"\nhub = true\nsteps = 50\ndisk = 0.5\n')
    monkeypatch.setattr(rules, "_given", OPEN)
    rules.give(str(file), "0.0.0.0", [])
    assert rules.given() == Rules(
        models=(tmp_path / "models",), texts=(tmp_path / "real",), exports=(), hub=True,
        tokens=CLOSED.tokens, steps=50, disk=0.5, own_runs=True,
    )  # fmt: skip


def test_what_is_said_in_a_file_holds_for_one_person_too(tmp_path, monkeypatch):
    (tmp_path / "studio.toml").write_text("[studio]\nread_only = true\n")
    monkeypatch.setattr(rules, "_given", OPEN)
    rules.give(str(tmp_path / "studio.toml"), "127.0.0.1", ["localhost"])
    assert rules.given().read_only


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read"),
        ("[studio", "cannot be read"),
        ("models = []", "no section"),
        ("studio = 3", "no section"),
        ("[studio]\nmodel = []", "'model', which is not known"),
        ("[studio]\nmodels = ['nowhere']", "'nowhere', which is no folder"),
        ("[studio]\nmodels = [3]", "3, which is no folder"),
        ("[studio]\nmodels = 3", "should be a list or the name of a folder"),
        ("[studio]\nhub = 'yes'", "should be true or false"),
        ("[studio]\nsteps = true", "should be a whole number"),
        ("[studio]\nsteps = 0", "more than 0"),
        ("[studio]\ndisk = nan", "more than 0"),
        ("[studio]\ntokens = 1.5", "should be a whole number"),
        ("[studio]\nown_runs = false", "not known"),
    ],
)
def test_a_file_that_makes_no_sense_is_one_line_and_leaves_all_as_it_was(tmp_path, monkeypatch, text, says):
    monkeypatch.setattr(rules, "_given", CLOSED)
    file = tmp_path / "studio.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ValueError, match=says) as refused:
        rules.give(str(file), "127.0.0.1", [])
    assert "\n" not in str(refused.value).strip()
    assert rules.given() == CLOSED


def test_the_file_is_parted_from_the_other_arguments():
    assert rules.parted(["--allow-pickle"]) == (None, ["--allow-pickle"])
    assert rules.parted(["--studio", "a b.toml", "--allow-pickle"]) == ("a b.toml", ["--allow-pickle"])
    with pytest.raises(ValueError, match="needs the name"):
        rules.parted(["--allow-pickle", "--studio"])


def test_what_is_said_of_a_server(tmp_path):
    assert OPEN.said == ""
    assert "no models but the embedded one, no text files, and writes no checkpoints" in CLOSED.said
    assert "To serve others" in CLOSED.said
    some = Rules(models=(tmp_path,), texts=(), exports=(tmp_path,), own_runs=True)
    assert "the Hugging Face hub" in some.said
    assert "README" not in some.said
    assert "for looking" in Rules(read_only=True).said


def test_processes_that_trainings_are_handed_to_are_typed_or_of_the_file_and_forbid_nothing(tmp_path, monkeypatch):
    (tmp_path / "studio.toml").write_text("[studio]\nprocesses = 3\n")
    monkeypatch.setattr(rules, "_given", OPEN)
    assert rules.parted(["--processes", "2", "--allow-pickle"], rules.PROCESSES) == ("2", ["--allow-pickle"])
    rules.give(None, "127.0.0.1", [], "2")
    assert (rules.given(), rules.given().processes) == (OPEN, 2)
    rules.give(str(tmp_path / "studio.toml"), "127.0.0.1", [])
    assert rules.given().processes == 3
    rules.give(str(tmp_path / "studio.toml"), "127.0.0.1", [], "4")
    assert rules.given().processes == 4
    for wrong in ("0", "-1", "many", "1025"):
        with pytest.raises(ValueError, match="a number from 1 to 1024"):
            rules.give(None, "127.0.0.1", [], wrong)
