"""Subjects that ask for something in a file: options of a command, components, a comparison, questions."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from damage import documents, files, garbled, written
from hypothesis import strategies as st
from subjects import SHORT, Case

from app.charts.neighbours import shares
from app.values.colours import DARK
from app.widgets import neighbours
from restorelcc.artifacts.experiments import experiment_table, given_experiment

OUT = ["--out", "{}/out", "--json"]
BRIEF = ["--steps", "2", "--batch", "2", "--evaluate-every", "1", "--elsewhere", ""]
READING = [
    ["restore", "--config", "{}/asked.json", *BRIEF, *OUT],
    ["restore", "--config", "{}/asked.json", *BRIEF, *OUT],
    ["inspect", "--config", "{}/asked.json", "--json"],
    ["evaluate", "--config", "{}/asked.json", "--json"],
    ["sweep", "--config", "{}/asked.json", "--lr", "0.1", "--steps", "2", "--json"],
    ["prune", "--config", "{}/asked.json", "--method", "magnitude", *OUT],
    ["compare", "--config", "{}/asked.json", "--methods", "mean-bias", "--elsewhere", "", "--judged", "2", "--json"],
    ["validate", "{}/asked.json", "--json"],
    ["runs", "--config", "{}/asked.json", "--json"],
]
"""What takes long is typed, which wins over what a file says."""


def _read(name: str, content: bytes, command: list[str]) -> Case:
    return Case(list(command), {name: content}, beside="data")


def _in_app(folder: Path, config: dict[str, object]) -> dict[str, object]:
    """As a run of the app says how its pair was opened."""
    texts = dict.fromkeys(("calibration", "evaluation"), str(folder / "text.txt"))
    recipe = {"dense": str(folder / "dense"), "pruned": str(folder / "pruned"), "elsewhere": "", "windows": "8"}
    more = {"captured": "4", "evaluated": "4", "length": "16", "device": "cpu"}
    return {name: part for name, part in config.items() if name != "asked"} | {"recipe": recipe | texts | more}


def option_files(folder: Path) -> st.SearchStrategy[Case]:
    """What a run says of itself, of the command line and of the app, and options by their names, read by every command,
    those that they are of and others."""
    (place,) = (folder / "data/restorelcc/runs").glob("2*")
    content = (place / "config.json").read_bytes()
    config = json.loads(content)
    options = {
        "dense": str(folder / "dense"), "pruned": str(folder / "pruned"), "calibration": str(folder / "text.txt"),
        "length": 16, "windows": 8, "heads": 0.5, "lr": 0.1, "patience": 2, "score": "relative_error", "seed": 1,
    }  # fmt: skip
    asked = config["asked"] | {"in_app": {"recipe": _in_app(folder, {})["recipe"], "sampled": 0, "by_held_out": True}}
    kinds = [config, _in_app(folder, config), config | {"asked": asked}, options, _compared(folder)]
    damaged = st.one_of(*(documents(kind).map(written) for kind in kinds), files(content))
    return st.builds(partial(_read, "asked.json"), damaged, st.sampled_from(READING))


def picks(folder: Path) -> st.SearchStrategy[Case]:
    """Components that are named in a file, with magnitudes of some."""
    (place,) = (folder / "data/restorelcc/runs").glob("2*")
    config = json.loads((place / "config.json").read_bytes()) | {"picks": "0.1_0-3_5*1.5~2.3"}
    command = ["restore", "--dense", "{}/dense", "--pruned", "{}/pruned", "--picks", "{}/asked.json", "--start",
               "picked", *BRIEF, *SHORT[:-1], *OUT]  # fmt: skip
    damaged = st.one_of(documents(config).map(written), documents(config["selection"]).map(written),
                        files(written(config)))  # fmt: skip
    return damaged.map(lambda content: _read("asked.json", content, command))


def _compared(folder: Path) -> dict[str, object]:
    """As `compare --json` writes it."""
    side = {"recovered_share": 0.5, "share_stderr": None, "nearer": 0.25, "nearer_stderr": 0.1}
    row = side | {
        "method": "mean-bias", "seed": 0, "elsewhere": side, "trained_parameters": 10, "tokens": 4, "seconds": 1.5,
        "peak_bytes": None, "zeros": 8, "kept_zeros": 4, "multiplications_beside": 3, "free_at_inference": False,
    }  # fmt: skip
    failed = {"method": "ridge", "seed": 0, "error": "It has fewer weights."}
    return {
        "format": 1, "created": "2026-01-02T03:04:05+00:00", "recipe": _in_app(folder, {})["recipe"],
        "pair": {"dense": "demo", "pruned": "wanda 60 %"}, "texts": {"calibration": "demo", "there": "demo",
        "elsewhere": "everyday"}, "windows": {"there": 4, "elsewhere": 3}, "budget": {"steps": 2, "batch": 2,
        "seeds": 1}, "results": [row, failed], "stopped": False, "threads": 1, "versions": {},
    }  # fmt: skip


def opened(content: bytes, folder: Path) -> object:
    """As Compare opens a file, with all that it shows of it."""
    found = given_experiment(content)
    assert isinstance(neighbours.about(found) + found.name + found.written(), str)
    drawn = neighbours._of_methods(found, "nearer").dropna(subset=["share"])
    picture = None if drawn.empty else shares.against_cost(drawn, "nearer", DARK)
    return [experiment_table(found), found.created, found.refusals, neighbours._shown(found.table()), picture]


def comparisons(folder: Path) -> st.SearchStrategy[Case]:
    """A file that is opened on Compare."""
    return files(written(_compared(folder))).map(lambda content: Case(call=partial(opened, content)))


def questions(folder: Path) -> st.SearchStrategy[Case]:
    """Rows that are asked."""
    pairs = [{"sentence_good": f"the cat ran {word}", "sentence_bad": f"ran cat {word} the"} for word in ("to", "in")]
    chosen = [{"query": "the cat", "choices": [" ran", " sat"], "gold": at} for at in (0, 1)]
    command = ["evaluate", "{}/pruned", "--against", "{}/dense", "--tasks", "{}/rows-asked.jsonl", "--json"]

    def lines(rows: list[dict[str, object]]) -> st.SearchStrategy[bytes]:
        whole = "\n".join(map(json.dumps, rows)).encode()
        row = documents(rows[0]).map(lambda new: b"\n".join([written(new), json.dumps(rows[1]).encode()]))
        return st.one_of(row, row, garbled(whole))

    return st.one_of(lines(pairs), lines(chosen)).map(lambda new: _read("rows-asked.jsonl", new, command))
