"""What a result depends on beside what it is made from: another code, other libraries, another key."""

import pytest

from restorelcc.artifacts import provenance
from restorelcc.artifacts.findings import Recipe, _place
from restorelcc.artifacts.provenance import PACKAGE, code_digest


@pytest.fixture
def package(tmp_path):
    (tmp_path / "wing").mkdir()
    (tmp_path / "wing" / "file.py").write_text("a = 1\n")
    (tmp_path / "other.py").write_text("b = 2\n")
    (tmp_path / "note.txt").write_text("no code")
    return tmp_path


def fresh(package):
    code_digest.cache_clear()
    return code_digest(package)


def test_it_is_the_same_for_the_same_code(package):
    before = fresh(package)
    (package / "note.txt").write_text("no code either")
    assert fresh(package) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda package: (package / "wing" / "file.py").write_text("a = 3\n"),
        lambda package: (package / "wing" / "new.py").write_text(""),
        lambda package: (package / "other.py").unlink(),
        lambda package: (package / "other.py").rename(package / "wing" / "other.py"),
        lambda package: (
            (package / "wing" / "file.py").write_text("a = 1\nb "),
            (package / "other.py").write_text("= 2\n"),
        ),
    ],
)
def test_it_is_another_for_other_code(package, change):
    before = fresh(package)
    change(package)
    assert fresh(package) != before


@pytest.mark.parametrize("library", provenance.LIBRARIES)
def test_it_is_another_for_another_version_of_what_computes(package, monkeypatch, library):
    before = fresh(package)
    monkeypatch.setattr(provenance, "version", lambda name: "another" if name == library else "one")
    changed = fresh(package)
    monkeypatch.setattr(provenance, "version", lambda name: "one")
    assert len({before, changed, fresh(package)}) == 3
    code_digest.cache_clear()


def test_findings_are_kept_apart_by_the_code_that_found_them(monkeypatch):
    here = _place(Recipe())
    assert _place(Recipe()) == here
    monkeypatch.setattr("restorelcc.artifacts.findings.code_digest", lambda: "another")
    assert _place(Recipe()) != here
    assert (PACKAGE / "workspace.py").is_file()  # it is our own code that is read
