"""A report of a whole pair as a folder: a page for the pair, one a head and one a run, and the tables, for any web
server that gives out files."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from ..artifacts.card import name_of
from ..artifacts.runs import Run
from ..capture.head_loss import METRICS
from ..progress import Progress
from ..storage.folders import whole
from ..workspace import Workspace
from . import figures
from .build import measure_of, of_pair, of_runs
from .page import Page, figure, heading, link, paragraph, plotly_script, table

SCRIPT = "plotly.min.js"


def write_site(folder: Path, workspace: Workspace, runs: Sequence[Run] = ()) -> Generator[Progress, None, None]:
    """Whole or not at all; yields after every page. runs: those of this pair. Raises WriteError, LoadError."""
    layers, heads, _ = workspace.lost.shape
    places = [(layer, head) for layer in range(layers) for head in range(heads) if workspace.lost.present[layer, head]]
    with whole(folder) as draft:
        (draft / SCRIPT).write_text(plotly_script(), encoding="utf-8")
        first = of_pair(workspace)
        listed = [
            paragraph("Every head:"),
            f"<p>{' '.join(link(_name(*place), _file(*place)) for place in places)}</p>",
        ]
        listed.append(f"<p>Tables: {link('heads.csv', 'heads.csv')} {link('components.csv', 'components.csv')}</p>")
        if runs:
            listed += [heading("Restorations"), *(f"<p>{link(run.name, _run_file(run))}</p>" for run in runs)]
        _write(draft / "index.html", Page(first.title, (*first.parts, heading("More"), *listed)))
        workspace.loss.to_pandas().to_csv(draft / "heads.csv", index=False)
        workspace.lost.to_pandas().to_csv(draft / "components.csv", index=False)
        for run in runs:
            page = of_runs([run])
            _write(draft / _run_file(run), Page(page.title, (_back(), *page.parts)))
        for done, place in enumerate(places):
            yield Progress("writing a page a head", done, len(places))
            _write(draft / _file(*place), _of_head(workspace, *place))


def _of_head(workspace: Workspace, layer: int, head: int) -> Page:
    """What one head lost, direction by direction."""
    lost, found = workspace.lost, workspace.findings
    energy, mean = lost.energy[layer, head], lost.magnitude[layer, head]
    share = float(mean.square().sum() / lost.variance[layer, head].sum()) if float(energy.sum()) else 0.0
    rows = [(measure_of(name).title, f"{float(workspace.loss.table(name)[layer, head]):.4g}", measure_of(name).unit)
            for name in METRICS]  # fmt: skip
    return Page(
        f"Layer {layer}, head {head} of {name_of(found.dense_name)}",
        (
            _back(),
            table(("measure", "value", "unit"), rows, words=True),
            paragraph(
                f"{share:.1%} of what it lost is the same at every token: only that part can a constant put back."
            ),
            figure(
                figures.bars(energy.tolist(), "component", "share of the lost energy"), "What it lost, by direction."
            ),
            figure(
                figures.bars(mean.tolist(), "component", "mean α, activation units"), "The mean along each direction."
            ),
        ),
    )


def _write(file: Path, page: Page) -> None:
    file.write_text(page.html(SCRIPT), encoding="utf-8")


def _back() -> str:
    return f"<p>{link('The whole pair', 'index.html')}</p>"


def _name(layer: int, head: int) -> str:
    return f"L{layer} H{head}"


def _file(layer: int, head: int) -> str:
    return f"head-{layer}-{head}.html"


def _run_file(run: Run) -> str:
    return f"run-{run.folder.name}.html"
