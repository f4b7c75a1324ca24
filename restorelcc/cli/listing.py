"""The commands `runs` and `families`: lists of what is there."""

from __future__ import annotations

from dataclasses import asdict

from ..artifacts.runs import Run, list_runs
from ..hf.families import FAMILIES, RUNTIMES
from .console import say, show_json, show_table


def runs(as_json: bool) -> None:
    """List what was kept, and what of it is damaged."""
    kept = list_runs()
    if as_json:
        show_json({"runs": [run.config | {"folder": str(run.folder), "damage": run.damage or None} for run in kept]})
        return
    if not kept:
        say("No restorations are kept yet. Make one with: python -m restorelcc restore --help")
        return
    columns = ["name", "made (UTC)", "trained values", "recovered", "nearer", "folder"]
    show_table("Restorations", columns, [_row(run) for run in kept])
    for run in kept:
        if run.damage:
            say(f"Damaged: {run.folder.name}: {run.damage}")


def _row(run: Run) -> list[str]:
    figures = run.config.get("figures", {})
    shares = [figures.get(name) for name in ("recovered_share", "nearer")]  # null where pruning lost nothing
    made = f"{run.created:%Y-%m-%d %H:%M}" if run.created else ""
    trained = str(run.config.get("trained_parameters", ""))
    return [run.name, made, trained, *("" if share is None else f"{share:.1%}" for share in shares), str(run.folder)]


def families(as_json: bool) -> None:
    """List the families of models that are tested."""
    if as_json:
        show_json({"families": [asdict(family) for family in FAMILIES.values()]})
        return
    rows = [[cell.strip("*").replace("`", "") for cell in family.row()] for family in FAMILIES.values()]
    columns = ["family", "model_type", "a restoration is exported", *RUNTIMES.values()]
    show_table("Families tested the whole way", columns, rows)
    say("Any other is found by its structure, and inspect says so. The last columns: whether these keep the bias.")
