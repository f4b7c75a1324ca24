"""The command `report`: a pair or runs as one file, or a pair as a folder of pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...artifacts.findings import Recipe
from ...artifacts.runs import Run, list_runs
from ...errors import LoadError, SettingError
from ...models.loading import DEMO
from ...progress_bar import watched
from ...report.build import of_pair, of_runs
from ...report.page import Page
from ...report.site import write_site
from ...storage.folders import check_csv, check_free, write_text
from ...workspace import open_workspace, pruned_name
from ..console import say, show_json


def report(recipe: Recipe, runs: str, out: Path | None, folder: Path | None, as_json: bool) -> None:
    """Write it where it was asked for. Raises SettingError where it was asked for nowhere, or twice."""
    if (out is None) == (folder is None):
        raise SettingError("Give --out FILE for a report in one file, or --folder DIR for pages of a pair; not both.")
    chosen = [found_run(name.strip()) for name in runs.split(",") if name.strip()]
    if folder is not None:
        check_free(folder)
    check_csv(out, "a report")
    if recipe.dense != DEMO and recipe.pruned is None and (folder is not None or not chosen):
        raise SettingError(f"Give --pruned, what {recipe.dense} became: the embedded pair alone is made here.")
    if out is not None and chosen:
        _written(of_runs(chosen), out)
    else:
        workspace = watched(open_workspace(recipe))
        if folder is not None:
            watched(write_site(folder, workspace, chosen or _of_pair(recipe)))
        elif out is not None:
            _written(of_pair(workspace), out)
    place = folder or out
    if as_json:
        show_json({"out": str(place), "runs": [run.folder.name for run in chosen]})
    else:
        say(f"The report is in {place}")


def found_run(name: str) -> Run:
    """The run of this folder, or the newest of this name. Raises LoadError."""
    kept = list_runs()
    for run in (*(run for run in kept if run.folder.name == name), *(run for run in kept if run.name == name)):
        return run
    raise LoadError(f"There is no run called {name!r}: see python -m restorelcc runs.")


def _of_pair(recipe: Recipe) -> Sequence[Run]:
    """Runs that are kept of these models, by the names that they were given by."""
    models = (recipe.dense, pruned_name(recipe))
    return [run for run in list_runs() if (run.config.get("dense"), run.config.get("pruned")) == models]


def _written(page: Page, out: Path) -> None:
    write_text(page.html(), out)
