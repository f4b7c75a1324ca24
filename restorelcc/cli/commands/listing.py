"""The commands `runs` and `families`: lists of what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ...artifacts.runs import Run, list_runs
from ...artifacts.unfinished import Unfinished, list_unfinished
from ...hf.families import FAMILIES, RUNTIMES
from ..console import say, show_json, show_table
from .restore import BEGUN_HERE, going_on


def runs(as_json: bool) -> None:
    """List what was kept, what of it is damaged, and trainings that are not over."""
    kept, unfinished = list_runs(), list_unfinished()
    if as_json:
        shown = [run.config | {"folder": str(run.folder), "damage": run.damage or None} for run in kept]
        standing = {"unfinished": [_facts(training) for training in unfinished]} if unfinished else {}
        show_json({"runs": shown} | standing)
        return
    if not kept:
        say("No restorations are kept yet. Make one with: python -m restorelcc restore --help")
    else:
        columns = ["name", "made (UTC)", "trained values", "recovered", "nearer", "folder"]
        show_table("Restorations", columns, [_row(run) for run in kept])
    for run in kept:
        if run.damage:
            say(f"Damaged: {run.folder.name}: {run.damage}")
    for training in unfinished:
        say(_line(training))


def _line(training: Unfinished) -> str:
    """What a training that is not over is called, how far it is, and how it goes on."""
    if training.is_under_way:
        return f"Under way: {training.folder.name}: {training.standing}."
    if training.damage:
        return f"Interrupted, and cannot go on: {training.folder.name}: {training.damage} Delete {training.folder}"
    how = going_on(training.folder.name) if BEGUN_HERE in training.facts else "on the app's Restore page"
    return f"Interrupted: {training.folder.name}: {training.standing}. Go on with it: {how}"


def _facts(training: Unfinished) -> dict[str, Any]:
    """The same for programs."""
    return {
        "name": training.name,
        "folder": str(training.folder),
        "created": training.facts.get("created"),
        "step": training.step,
        "steps": training.steps,
        "under_way": training.is_under_way,
        "damage": training.damage or None,
    }


def _row(run: Run) -> list[str]:
    figures = run.config.get("figures", {})
    recovered, nearer = _share(figures, "recovered_share", "share_stderr"), _share(figures, "nearer", "nearer_stderr")
    if recovered and not nearer:
        nearer = "unknown"  # Kept before distances were measured.
    made = f"{run.created:%Y-%m-%d %H:%M}" if run.created else ""
    trained = str(run.config.get("trained_parameters", ""))
    return [run.name, made, trained, recovered, nearer, str(run.folder)]


def _share(figures: Mapping[str, Any], name: str, error: str) -> str:
    """A share with its error; empty where it is not known, as where pruning lost nothing."""
    value, spread = figures.get(name), figures.get(error)
    if value is None:
        return ""
    return f"{value:.1%}" if spread is None else f"{value:.1%} ± {spread:.1%}"


def families(as_json: bool) -> None:
    """List the families of models that are tested."""
    if as_json:
        show_json({"families": [asdict(family) for family in FAMILIES.values()]})
        return
    rows = [[cell.strip("*").replace("`", "") for cell in family.row()] for family in FAMILIES.values()]
    columns = ["family", "model_type", "a restoration is exported", *RUNTIMES.values()]
    show_table("Families tested the whole way", columns, rows)
    say("Any other is found by its structure, and inspect says so. The last columns: whether these keep the bias.")
