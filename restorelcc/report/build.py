"""What a report says of a pair and of runs: figures with their standard errors, the text that each is of, settings,
versions, and the command lines that come to it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..artifacts.card import evaluating, name_of, usage, without_places
from ..artifacts.findings import Recipe
from ..artifacts.runs import Run
from ..capture.head_loss import METRICS
from ..errors import LoadError
from ..evaluation.perplexity import paired_difference, perplexity
from ..selection.scores import SCORES, Measure
from ..storage.formats import versions
from ..workspace import Workspace
from . import figures
from .page import Page, choice, commands, facts, figure, heading, paragraph, table

MOST = 20  # rows of a table of heads or components
PERPLEXITY = (
    "± is one standard error, with windows of text as the sample; differences are paired by window. Recovered: of the "
    "log-likelihood that pruning lost. Nearer: of the pruned model's distance to the dense one (KL of the next token). "
    "What merely learns the text recovers without coming nearer."
)


def of_pair(workspace: Workspace) -> Page:
    """What pruning took from the heads of a pair."""
    found, recipe = workspace.findings, workspace.recipe
    title = f"{name_of(found.dense_name)} and {name_of(found.pruned_name)}: what pruning took"
    return Page(title, tuple(_placeless(_pair_parts(workspace), {"dense": recipe.dense, "pruned": recipe.pruned})))


def of_runs(runs: Sequence[Run]) -> Page:
    """What one restoration came to, or several beside each other."""
    if len(runs) == 1:
        run = runs[0]
        return Page(f"{run.name}: a restoration", tuple(_placeless(_run_parts(run), run.config)))
    parts = [*_compared(runs)]
    for run in runs:
        parts += [heading(run.name), *_placeless(_run_parts(run, alone=False), run.config)]
    return Page(f"{len(runs)} restorations", tuple(parts))


def measure_of(name: str) -> Measure:
    """What is known of a measure of what heads lost."""
    return SCORES[name]


def _placeless(parts: Iterator[str], about: Mapping[str, Any]) -> Iterator[str]:
    """As cards are: with no path of the machine where it was made."""
    return (
        part if part.startswith(("<figure", '<div class="choice"')) else without_places(part, about) for part in parts
    )


def _pair_parts(workspace: Workspace) -> Iterator[str]:
    found, recipe, shape = workspace.findings, workspace.recipe, workspace.findings.geometry
    dense, pruned = perplexity(found.live_dense), perplexity(found.live_pruned)
    lost = paired_difference(found.live_pruned, found.live_dense)
    yield table(
        (f"{found.live.count:,} tokens of {name_of(recipe.evaluation)}", "perplexity", "nats per token against dense"),
        [
            ("dense", f"{dense.value:.3f} ± {dense.stderr:.3f}", ""),
            ("pruned", f"{pruned.value:.3f} ± {pruned.stderr:.3f}", f"{lost.nats:+.4f} ± {lost.stderr:.4f}"),
        ],
    )
    yield paragraph("± is one standard error, with windows of text as the sample; the difference is paired.", note=True)
    yield heading("What every head lost")
    yield paragraph(
        f"Read from {found.statistics.count:,} tokens of {name_of(recipe.calibration)}. The largest loss is not the "
        "one most worth repairing: deep heads show what shallower ones lost."
    )
    tables = {name: workspace.loss.table(name) for name in METRICS}
    yield choice(
        "Measure",
        {
            measure_of(name).title: (figures.head_map(values, measure_of(name)), measure_of(name).definition)
            for name, values in tables.items()
        },
    )
    two = [measure_of(name) for name in ("relative_error", "output_weighted")]
    drawn = figures.scatter(tables["relative_error"], tables["output_weighted"], *two)
    yield figure(drawn, f"Every head by {two[0].title.lower()} and {two[1].title.lower()}.")
    yield heading("Heads that lost most")
    worst = tables["relative_error"].flatten().argsort(descending=True, stable=True)[:MOST].tolist()
    heads = [divmod(place, shape.n_heads) for place in worst]
    yield table(
        ("head", *(measure_of(name).title for name in METRICS)),
        [(f"L{head[0]} H{head[1]}", *(f"{float(values[head]):.4g}" for values in tables.values())) for head in heads],
    )
    yield heading("Strongest lost components")
    yield table(("component", "share of its head's loss", "mean α", "mean square"), list(_strongest(workspace)))
    yield heading("The pair")
    yield facts(
        {
            "dense": name_of(found.dense_name),
            "pruned": name_of(found.pruned_name),
            "shape": f"{shape.n_layers} layers of {shape.n_heads} heads of {shape.d_head}",
            "parameters": f"{found.dense_size.parameters:,} dense, {found.pruned_size.parameters:,} pruned",
            "not zero": f"{found.pruned_size.nonzero:,} of the pruned model's",
            "zeros in weight matrices": f"{found.sparsity.sparsity:.1%} ({found.sparsity.zeros:,})",
            "calibration text": name_of(recipe.calibration),
            "evaluation text": name_of(recipe.evaluation),
            "precision": recipe.loading.dtype,
            **versions(),
        }
    )
    for remark in (*workspace.remarks(), *found.notes):
        yield paragraph(remark, note=True)
    yield heading("To repeat it")
    yield commands(_pair_lines(recipe))
    yield paragraph("Models and texts are called by their own names: give the folders where you have them.", note=True)


def _strongest(workspace: Workspace) -> Iterator[tuple[str, ...]]:
    """Rows of the components that carry most lost energy, over all heads."""
    lost, (_, heads, width) = workspace.lost, workspace.lost.shape
    for place in lost.variance.flatten().argsort(descending=True, stable=True)[:MOST].tolist():
        at = (place // (heads * width), place // width % heads, place % width)
        name = "L{} H{} v{}".format(*at)
        energy, mean, square = (float(part[at]) for part in (lost.energy, lost.magnitude, lost.variance))
        yield name, f"{energy:.1%}", f"{mean:+.4f}", f"{square:.4g}"


def _pair_lines(recipe: Recipe) -> list[str]:
    """The command lines that come to the figures of a pair."""
    models = {"dense": name_of(recipe.dense)} | ({"pruned": name_of(recipe.pruned)} if recipe.pruned else {})
    given = {"calibration": name_of(recipe.calibration), "text": name_of(recipe.evaluation), "length": recipe.length}
    given["dtype"] = None if recipe.loading.dtype == "auto" else recipe.loading.dtype
    lines = [_line("report", models | given | {"out": "report.html"})]
    if recipe.pruned:
        given = {"calibration": given["calibration"], "windows": recipe.captured, "length": recipe.length}
        lines.append(_line("inspect", models | given | {"csv": "heads.csv"}))
    return lines


def _line(command: str, given: Mapping[str, object]) -> str:
    options = [part for name, value in given.items() if value is not None for part in (f"--{name}", str(value))]
    return shlex.join(["python", "-m", "restorelcc", *command.split(), *options])


def _run_parts(run: Run, alone: bool = True) -> Iterator[str]:
    config = run.config
    if run.fault:
        yield paragraph(run.fault, note=True)
    yield from _judged(config)
    try:
        if alone:
            yield heading("Training")
            yield figure(figures.curves({run.name: run.metrics()}), "Perplexity of held-out windows, by step.")
        sizes, (what, unit) = run.adapter().compensation.norms, run.adapter().compensation.size
        measure = Measure(name="size", title=what, brief="", definition="", unit=f"{what}, {unit}", scale="plain")
        yield figure(figures.head_map(sizes, measure), f"What is put back into every head: {what}, {unit}.")
    except LoadError as error:
        yield paragraph(str(error), note=True)
    yield heading("How it came about") if alone else ""
    pruning, text, made = config.get("pruning") or {}, config.get("calibration") or {}, run.created
    yield facts(
        {
            "dense": name_of(config.get("dense")),
            "pruned": name_of(config.get("pruned")),
            "pruning": " ".join(str(pruning[key]) for key in ("method", "pattern", "sparsity") if pruning.get(key)),
            "trained on": f"{text.get('windows')} windows of {text.get('length')} tokens" if text else "",
            "of": name_of(text.get("source")),
            "made": f"{made:%Y-%m-%d %H:%M} UTC" if made else "",
            "values trained": config.get("trained_parameters"),
            "best step": config.get("best_step"),
        }
    )
    settings = config.get("settings") or {}
    if settings:
        yield table(("setting", "value"), list(settings.items()), words=True)
    yield facts(config.get("versions") or {})
    yield heading("To use it, and to measure it again") if alone else ""
    again = [_line(f"repeat {run.folder.name}", {})] if config.get("asked") or "recipe" in config else []
    yield commands([usage("adapter", config), *evaluating("adapter", config), *again])


def _judged(config: Mapping[str, Any]) -> Iterator[str]:
    """Perplexities of every text that it was judged on, with what came back."""
    found = config.get("figures") or {}
    texts = [(str(config.get("evaluation", "text that is not recorded")), found)]
    if found.get("elsewhere"):
        texts.append((f"{name_of(found['elsewhere'].get('text'))}, which nothing was trained on", found["elsewhere"]))
    for text, of in texts:
        states = [(state, of[state]) for state in ("dense", "pruned", "restored") if isinstance(of.get(state), Mapping)]
        if not states:
            continue
        far = of.get("kl") or {}
        yield table(
            (text, "perplexity", "KL from dense, nats per token", "tokens"),
            [
                (
                    state,
                    f"{one.get('perplexity', float('nan')):.3f} ± {one.get('stderr', float('nan')):.3f}",
                    f"{far[state]['nats']:.4f} ± {far[state]['stderr']:.4f}" if state in far else "",
                    f"{one.get('tokens', 0):,}",
                )
                for state, one in states
            ],
        )
        yield paragraph(f"Recovered {_share(of, *RECOVERED)}, nearer {_share(of, *NEARER)}.")
    yield paragraph(PERPLEXITY, note=True)


RECOVERED, NEARER = ("recovered_share", "share_stderr"), ("nearer", "nearer_stderr")


def _share(of: Mapping[str, Any], name: str, error: str) -> str:
    value, spread = of.get(name), of.get(error)
    if value is None:
        return "not known"
    return f"{value:.1%}" + ("" if spread is None else f" ± {spread:.1%}")


def _compared(runs: Sequence[Run]) -> Iterator[str]:
    """A table and figures of several runs."""
    judged = {run.folder.name: (run.config.get("figures") or {}) for run in runs}
    names = [_told_apart(run, runs) for run in runs]
    rows = []
    for run, name in zip(runs, names, strict=True):
        of = judged[run.folder.name]
        restored = of.get("restored") or {}
        value, error = restored.get("perplexity"), restored.get("stderr")
        shown = "" if value is None else f"{value:.3f}" + ("" if error is None else f" ± {error:.3f}")
        text = without_places(str(run.config.get("evaluation", "not recorded")), run.config)
        trained = run.config.get("trained_parameters", "")
        rows.append(
            (name, shown, _share(of, *RECOVERED), _share(of, *NEARER), trained, without_places(text, run.config))
        )
    yield table(("run", "perplexity", "recovered", "nearer", "values trained", "on"), rows)
    yield paragraph(PERPLEXITY, note=True)
    columns = {
        title: [(judged[run.folder.name].get(name), judged[run.folder.name].get(error)) for run in runs]
        for title, (name, error) in {"recovered": RECOVERED, "nearer": NEARER}.items()
    }
    yield figure(figures.shares(names, columns), "What came back: recovered and nearer, with their standard errors.")
    curves = {}
    for run, name in zip(runs, names, strict=True):
        try:
            curves[name] = run.metrics()
        except LoadError as error:
            yield paragraph(str(error), note=True)
    if curves:
        yield figure(figures.curves(curves), "Perplexity of each one's held-out windows, by step.")


def _told_apart(run: Run, runs: Sequence[Run]) -> str:
    """Its name, which is its folder's where others have the same."""
    return run.name if sum(other.name == run.name for other in runs) == 1 else run.folder.name
