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
DEMO = "demo"  # as models.loading has it, which takes seconds to import
READ = f"{__name__}.read"
"""Under which a context has what was read from the file that --config names."""
UNSAID = ("teacher_bytes", "bounded")
"""Settings that are no options: how much memory is taken, and whether a rate is lowered, which one that is given is
not."""


def options_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a training by the names of options; what is not set is left out."""
    named = {NAMES.get(name, name): value for name, value in settings.items() if name not in UNSAID}
    named.pop("steps" if named.get("epochs") else "epochs", None)
    return {name: value for name, value in named.items() if value is not None}


def options_in(file: Path, data: Mapping[str, Any], command: str, known: set[str]) -> dict[str, Any]:
    """What was read from a file says of the options of a command, by their names; of a run, what of it concerns that
    command. Raises LoadError for what is damaged, and SettingError for what the command does not know."""
    if is_comparison(data):
        return _compared(file, data, command)
    options = {name.replace("-", "_").removeprefix("__"): value for name, value in data.items()}
    of_run = {name for name, value in options.items() if name in KNOWN and (is_run(data) or isinstance(value, dict))}
    strange = sorted(options.keys() - of_run - known - {"format"})
    strange += [f"settings.{name}" for name in part(data, "settings") if name not in _settings()]
    if strange:
        raise SettingError(f"{file} says {', '.join(strange)}, which {command} does not know. Take it out of the file.")
    with foreign(lambda reason: LoadError(f"{file} is damaged ({reason}). Give a run's config.json.")):
        said = _of_run(file, data, command)
    said |= {name: value for name, value in options.items() if name not in of_run}
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


def is_comparison(data: Mapping[str, Any]) -> bool:
    """Whether this is what `compare --json` writes."""
    return isinstance(data.get("results"), list) and isinstance(data.get("budget"), Mapping)


def _settings() -> set[str]:
    return {field.name for field in fields(Settings)}


def part(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object in it; empty where there is none."""
    value = data.get(name)
    return dict(value) if isinstance(value, Mapping) else {}


def lacking(data: Mapping[str, Any], command: str) -> str:
    """What the models of a run lack that this command has to be given, in a sentence; empty where that is nothing."""
    recipe = data.get("recipe")
    if not isinstance(recipe, Mapping) or recipe.get("pruned") or command not in ("inspect", "sweep", "evaluate"):
        return ""
    return (
        "This run is of a pair that was pruned in the app, whose pruned model has no name here. Write it first, by "
        "prune --config FILE --out DIR, and give DIR too."
    )


def _of_run(file: Path, data: Mapping[str, Any], command: str) -> dict[str, Any]:
    """What a run says that this command can be told."""
    if command == "prune":
        return _pruning(data)
    if command == "evaluate":
        return _evaluation(file, data)
    asked, settings = part(data, "asked"), part(data, "settings")
    app = part(asked, "in_app") if asked else data
    if isinstance(app.get("recipe"), Mapping):
        return options_of(settings) | _in_app(file, data, app, command)
    said = options_of(settings) | {side: asked.get(side, data.get(side)) for side in ("dense", "pruned")}
    if asked:
        text, loading = part(asked, "text"), part(asked, "loading")
        said |= part(asked, "picks") | {name: asked.get(name) for name in ("elsewhere", "share")}
        said |= {name: text.get(name) for name in ("windows", "length", "seed")} | {"calibration": text.get("source")}
        said |= {name: loading.get(name) for name in ("device", "dtype")}
        if said.pop("chosen", ""):
            said["picks"] = str(file.absolute())
        return {name: value for name, value in said.items() if value != "" or name == "elsewhere"}
    text = part(data, "calibration")
    said |= {"calibration": text.get("source"), "windows": in_all(text.get("windows")), "length": text.get("length")}
    return said | ({"picks": str(file.absolute()), "components": None} if is_run(data) else {})


def _in_app(file: Path, data: Mapping[str, Any], app: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Of a run whose pair the app opened: models, texts, and the components themselves."""
    recipe, text = dict(app["recipe"]), part(data, "calibration")
    plain = recipe.get("dense", DEMO) == DEMO and "prune" not in recipe
    # What is pruned in the app has no name, and `restore` opens it as the app does; but the embedded pair has one.
    unnamed = DEMO if plain else str(data.get("pruned")) if command in ("restore", "compare", "report") else None
    said = {"dense": recipe.get("dense", DEMO), "pruned": recipe.get("pruned", unnamed)}
    said |= {name: recipe[name] for name in ("device", "dtype", "elsewhere") if name in recipe}
    if command == "restore":
        said |= {name: int(recipe[name]) for name in ("windows", "length") if name in recipe}
        said |= {"calibration": recipe.get("calibration"), "share": data.get("share", part(data, "asked").get("share"))}
        return said | {"picks": str(file.absolute())}
    return said | {"calibration": text.get("source"), "windows": in_all(text.get("windows")),
                   "length": text.get("length")}  # fmt: skip


def in_all(training: object) -> int | None:
    """How many windows there were where so many were left to train on (see `split_held_out`)."""
    if not isinstance(training, int) or not 0 < training < 2**31:
        return None
    about = round(training / 0.9)
    counts = range(max(training + 1, about - 2), about + 3)
    return next((count for count in counts if count - max(1, round(count * 0.1)) == training), None)


def _compared(file: Path, data: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Of a comparison, what makes it again; what its recipe says is read where the pair is opened. Raises SettingError
    for a command that makes none, LoadError."""
    if command != "compare":
        raise SettingError(f"{file} is a comparison of methods, and {command} makes none. Give it to compare --config.")
    with foreign(lambda reason: LoadError(f"{file} is damaged ({reason}). Give what compare --json writes.")):
        methods = dict.fromkeys(str(row["method"]) for row in data["results"])
        said: dict[str, Any] = {name: data["budget"].get(name) for name in ("steps", "batch", "seeds")}
        said["methods"] = ",".join(methods)
        texts, models = part(data, "texts"), part(data, "pair")
        said |= {"calibration": texts.get("calibration"), "text": texts.get("there")}
        said["elsewhere"] = texts.get("elsewhere") or ""
        if models.get("dense") != DEMO:
            said |= models
        return {name: value for name, value in said.items() if value is not None}


def _pruning(data: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run, how its pruned model was made."""
    record = part(data, "pruning")
    said = {name: record.get(name) for name in ("method", "pattern", "allocation", "rounding", "calibration")}
    share = "ratio" if record.get("method") == "structured" else "sparsity"
    recipe, length = data.get("recipe"), part(data, "calibration").get("length")
    if isinstance(recipe, Mapping):  # The app prunes on the windows that it calibrates on.
        tokens = record.get("tokens")
        said |= {"length": length, "windows": tokens // length if tokens and length else None}
        said["rounding"] = "nearest" if recipe.get("dense", DEMO) == DEMO else None
    return said | {"model": data.get("dense")} | ({share: record.get("sparsity")} if not said["pattern"] else {})


def _evaluation(file: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run, what measures it again: on the text that it was judged by, or else on the second one."""
    second = part(part(data, "figures"), "elsewhere")
    asked, text = part(data, "asked"), part(data, "judged_on") or part(second, "judged_on")
    adapter = file.parent / "adapter"
    said = {name: text.get(name) for name in ("text", "windows", "length", "dtype")}
    said |= {"model": asked.get("pruned", data.get("pruned")), "against": asked.get("dense", data.get("dense"))}
    if lacking(data, "evaluate"):
        del said["model"]
    return said | ({"adapter": str(adapter)} if adapter.is_dir() else {})
