"""What a file says of a command's options: the `config.json` of a run, of the command line or of the app, or a JSON
object of options by their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ...artifacts.run_config import KNOWN
from ...errors import LoadError, SettingError
from ...foreign import document_of, foreign
from ...restoration.settings import Settings

NAMES = {"kind": "what"}
"""What the command line calls a setting, where that is another name."""
UNSAID = ("teacher_bytes", "bounded")
"""Settings that are no options: how much memory is taken, and whether a rate is lowered, which one that is given is
not."""


def options_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a training by the names of options; what is not set is left out."""
    named = {NAMES.get(name, name): value for name, value in settings.items() if name not in UNSAID}
    named.pop("steps" if named.get("epochs") else "epochs", None)
    return {name: value for name, value in named.items() if value is not None}


def read_options(file: Path, command: str, known: set[str]) -> dict[str, Any]:
    """What a file says of the options of a command, by their names; of a run, what of it concerns that command. Raises
    LoadError for a file that is none, and SettingError for what the command does not know."""
    data = read_config(file)
    options = {name.replace("-", "_").removeprefix("__"): value for name, value in data.items()}
    of_run = {name for name, value in options.items() if name in KNOWN and (is_run(data) or isinstance(value, dict))}
    strange = sorted(options.keys() - of_run - known - {"format"})
    strange += [f"settings.{name}" for name in _part(data, "settings") if name not in _settings()]
    if strange:
        raise SettingError(f"{file} says {', '.join(strange)}, which {command} does not know. Take it out of the file.")
    said = _of_run(file, data, command) | {name: value for name, value in options.items() if name not in of_run}
    if not isinstance(said.get("format", ""), str):  # It is the number of the file's own format.
        del said["format"]
    return {name: value for name, value in said.items() if name in known and value is not None}


def read_config(file: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises LoadError."""
    with foreign(lambda reason: LoadError(f"{file} cannot be read ({reason}). Give a run's config.json.")):
        data = document_of(file)
    if not isinstance(data, dict):
        raise LoadError(f"{file} holds no JSON object. Give a run's config.json, or an object of options.")
    return data


def is_run(data: Mapping[str, Any]) -> bool:
    """Whether this is what a run says of itself."""
    return "selection" in data and "settings" in data


def _settings() -> set[str]:
    return {field.name for field in fields(Settings)}


def _part(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object in it; empty where there is none."""
    value = data.get(name)
    return dict(value) if isinstance(value, Mapping) else {}


def _of_run(file: Path, data: Mapping[str, Any], command: str) -> dict[str, Any]:
    """What a run says that this command can be told."""
    if command == "prune":
        return _pruning(data)
    if command == "evaluate":
        return _evaluation(file, data)
    asked, recipe, settings = _part(data, "asked"), _part(data, "recipe"), _part(data, "settings")
    models = {side: asked.get(side, data.get(side)) for side in ("dense", "pruned")}
    said = options_of(settings) | models
    if asked:
        text, loading = _part(asked, "text"), _part(asked, "loading")
        said |= _part(asked, "picks") | {"calibration": text.get("source"), "elsewhere": asked.get("elsewhere")}
        said |= {name: text.get(name) for name in ("windows", "length", "seed")}
        said |= {name: loading.get(name) for name in ("device", "dtype")}
        if said.pop("chosen", ""):
            said["picks"] = str(file)
        return {name: value for name, value in said.items() if value != "" or name == "elsewhere"}
    text = _part(data, "calibration")
    said |= {"calibration": text.get("source"), "windows": _in_all(text.get("windows")), "length": text.get("length")}
    if recipe or command not in ("restore", "compare"):
        said |= {"dense": recipe.get("dense", "demo"), "pruned": recipe.get("pruned", _made_here(recipe))}
        said |= {name: recipe[name] for name in ("device", "dtype", "elsewhere") if name in recipe}
    if is_run(data):
        said |= {"picks": str(file), "components": None}
    return said


def _made_here(recipe: Mapping[str, Any]) -> str | None:
    """The pruned model of a recipe that names none: the embedded pair's has a name, others were made in the app."""
    return "demo" if recipe.get("dense", "demo") == "demo" and "prune" not in recipe else None


def _in_all(training: object) -> int | None:
    """How many windows there were where so many were left to train on (see `split_held_out`)."""
    if not isinstance(training, int):
        return None
    return next((count for count in range(training + 1, 2 * training + 2)
                 if count - max(1, round(count * 0.1)) == training), None)  # fmt: skip


def _pruning(data: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run, how its pruned model was made."""
    record = _part(data, "pruning")
    said = {name: record.get(name) for name in ("method", "pattern", "allocation", "rounding", "calibration")}
    share = "ratio" if record.get("method") == "structured" else "sparsity"
    return said | {"model": data.get("dense")} | ({share: record.get("sparsity")} if not said["pattern"] else {})


def _evaluation(file: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run, what measures it again: on the text that it was judged by, or else on the second one."""
    second = _part(_part(data, "figures"), "elsewhere")
    asked, text = _part(data, "asked"), _part(data, "judged_on") or _part(second, "judged_on")
    adapter = file.parent / "adapter"
    said = {name: text.get(name) for name in ("text", "windows", "length", "dtype")}
    said |= {"model": asked.get("pruned", data.get("pruned")), "against": asked.get("dense", data.get("dense"))}
    return said | ({"adapter": str(adapter)} if adapter.is_dir() else {})
