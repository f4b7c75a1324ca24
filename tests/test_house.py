"""The house is as it says: small wings, doors that name what others use, one wing that knows Transformers."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("restorelcc", "app", "pages")
WINGS = sorted(path.parent for path in (ROOT / "restorelcc").glob("*/__init__.py"))


def files(*floors: str) -> list[Path]:
    return sorted(path for floor in floors for path in (ROOT / floor).rglob("*.py"))


def imported(path: Path) -> Iterator[tuple[str, str, str]]:
    """(wing, file, name) for every name that a file takes from a wing of the engine that is not its own."""
    here = path.relative_to(ROOT).parts
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        base = here[: len(here) - node.level] if node.level else ()
        full = [*base, *(node.module or "").split(".")] if node.module else list(base)
        if full[0] != "restorelcc" or full[1:2] == list(here[1:2]) or not (ROOT / "/".join(full[:2])).is_dir():
            continue
        for name in node.names:
            if len(full) == 2:  # a file of the wing as a whole
                yield full[1], name.name, ""
            elif len(full) > 2:
                yield full[1], full[2], name.name


def door(wing: Path) -> dict[str, set[str]]:
    """What the wing's `__init__` names, by file: after a blank line, rows of `file: name, name`."""
    text = ast.get_docstring(ast.parse((wing / "__init__.py").read_text())).partition("\n\n")[2]
    rows = re.findall(r"^(\w+): (.*(?:\n +.*)*)", text, flags=re.MULTILINE)
    return {file: set(names.replace(",", " ").split()) for file, names in rows}


@pytest.mark.parametrize("wing", WINGS, ids=lambda wing: wing.name)
def test_a_door_names_what_others_use_and_nothing_that_is_not_there(wing):
    tree = ast.parse((wing / "__init__.py").read_text())
    assert [type(node) for node in tree.body] == [ast.Expr], "a door says what the wing is for, and does nothing"
    named = door(wing)
    for file, names in named.items():
        rooms = [wing / f"{file}.py"] if (wing / f"{file}.py").exists() else sorted((wing / file).glob("*.py"))
        there = {name for room in rooms for node in ast.parse(room.read_text()).body for name in defined(node)}
        assert names <= there
    for path in files(*FLOORS):
        for other, file, name in imported(path):
            if other == wing.name:
                assert name == "" or name in named.get(file, ()), f"{path} takes {file}.{name}: say so at the door"


def defined(node: ast.stmt) -> set[str]:
    """Names that a statement of a module binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}


def test_wings_and_files_are_small():
    for folder in {path.parent for path in files(*FLOORS, "tests")}:
        assert len(list(folder.glob("*.py"))) <= 12, folder
    for path in files(*FLOORS):
        assert len(path.read_text().splitlines()) <= 400, path


NAMES_OF_TRANSFORMERS = re.compile(
    r"self_attn|[qkvo]_proj|(gate|up|down|qkv)_proj|c_(attn|proj)|query_key_value|fc[12]\b|embed_tokens|lm_head"
    r"|layernorm|(hidden|intermediate|vocab)_size|num_(attention|key_value|hidden)_|get_(text_config|decoder)|_hf_hook"
)
"""What models and their configs call their parts."""


def test_only_one_wing_names_what_is_inside_a_model():
    for path in files(*FLOORS):
        if path.parent == ROOT / "restorelcc" / "hf":
            continue
        text = path.read_text()
        assert NAMES_OF_TRANSFORMERS.search(text) is None, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "transformers":
                # What opens any model, what every model is, and how much is said meanwhile.
                assert node.module in ("transformers", "transformers.utils"), path
                assert all(name.name.startswith(("Auto", "PreTrained", "logging")) for name in node.names), path
