"""The command `sweep`: many restorations measured and kept as runs, none of them exported."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ...artifacts.sweep_runs import keep_point, sweep_tag
from ...capture.components import components
from ...capture.statistics import capture
from ...errors import WriteError
from ...models.loading import Loading
from ...models.pair import ModelPair
from ...progress import Progress
from ...progress_bar import watched
from ...restoration.settings import Settings
from ...restoration.sweep import Failure, Grid, Point, SweepResult, best_first, enough, to_pandas
from ...restoration.sweep import sweep as swept
from ...restoration.training import Stepped
from ...selection.scores import ScoreInputs
from ...storage.folders import check_csv, write_csv
from ...text.calibration import split_held_out
from ..console import note, records, say, show_json, show_table, shown
from ..given import asked as given
from ..opening import Text, check_own, head_order, note_held_out, open_pair, own_score_of
from ..tracking import Log, came_to, check_tracker, logged
from .about import about_run

OUT = "restored"
"""Where the command line that is suggested would write."""


def grid(heads: str, components: str, lr: str, loss: str, text: str, given: dict[str, Any]) -> Grid:
    """From lists with commas; settings of all points at their defaults where None is `given`. Raises SettingError."""
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    return Grid.read(_parts(heads), _parts(components), _parts(lr), _parts(loss), settings, _parts(text))


def _parts(values: str) -> list[str]:
    """What is between commas."""
    return [part.strip() for part in values.split(",") if part.strip()]


@dataclass(frozen=True)
class Asked:
    """What is to be swept."""

    dense: str
    pruned: str
    loading: Loading
    text: Text
    score: str
    own: str
    """A file that orders heads, in place of the score; empty: none."""
    grid: Grid
    csv: Path | None
    log_with: str
    """The tracker that every training is handed to, of `tracking.TRACKERS`; empty: none."""


def sweep(asked: Asked, as_json: bool) -> None:
    """Train every point, list them best first, and say how to restore with the best. What is done when it ends for
    whatever reason is kept and told."""
    grid, text = asked.grid, asked.text
    check_csv(asked.csv)
    check_tracker(asked.log_with)
    check_own(asked.own, grid.heads)
    pair, tokens = open_pair(asked.dense, asked.pruned, text, asked.loading)
    own = own_score_of(asked.own, pair)
    training, held_out = split_held_out(tokens)
    note_held_out(training, held_out)
    statistics = watched(capture(pair, tokens))
    lost = components(statistics)
    order = head_order(asked.score, ScoreInputs(pair, statistics, lost, training, held_out, seed=text.seed), own)
    results: list[SweepResult | Failure] = []
    keeping = _Keeping(pair, about_run(pair, text.source, training, held_out, tokens.notes), asked)

    def restoring(point: Point) -> str:
        return _command(point, asked)

    try:
        with logged(asked.log_with, f"sweep of {datetime.now():%Y-%m-%d %H.%M.%S}", note) as log:
            watched(_collected(swept(pair, lost, order, training, held_out, grid), results, asked.csv, keeping, log))
    except KeyboardInterrupt:
        if not results:
            raise
    finally:
        if results:
            (_tell_json if as_json else _tell)(results, grid, restoring, len(held_out), keeping)


class _Keeping:
    """Points as runs, all of one tag; a disk that refuses them is said once, and costs the sweep nothing."""

    def __init__(self, pair: ModelPair, about: dict[str, Any], asked: Asked) -> None:
        self.tag = sweep_tag(datetime.now())
        self.folders: list[str] = []
        """Of the runs that were kept."""
        self._pair, self._about, self._refused = pair, about | {"tags": [self.tag]}, False
        self._asked = asked
        name = Path(pair.pruned_name)
        self._pruned = name.name if name.is_dir() else pair.pruned_name

    def keep(self, result: SweepResult) -> SweepResult:
        """The result without what was trained, which is a run now."""
        try:
            facts = {"asked": _asked(result.point, self._asked).made_with()}
            run = keep_point(result, self._pair, self._pruned, self._about, facts)
            self.folders += [str(run.folder)] if run is not None else []
        except WriteError as error:
            if not self._refused:
                note(f"Points are not kept as runs: {error}")
            self._refused = True
        return replace(result, restoration=None)


def _collected(
    work: Iterator[Progress | SweepResult | Failure],
    results: list[SweepResult | Failure],
    csv: Path | None,
    keeping: _Keeping,
    log: Log,
) -> Generator[Progress, None, None]:
    """Into `results` as they come, into runs, the table and the tracker: who runs out of memory may not live to write
    it at the end."""
    for step in work:
        if isinstance(step, Progress):
            done = step.detail
            if isinstance(done, Stepped) and isinstance(done.of, Point):
                log.steps(_named(done.of), done)
            yield step
            continue
        _log(step, log)
        results.append(keeping.keep(step) if isinstance(step, SweepResult) else step)
        if csv is not None:
            write_csv(to_pandas(results), csv)


def _log(result: SweepResult | Failure, log: Log) -> None:
    """What a point came to, into its run; the steps too, where another process took them."""
    name = _named(result.point)
    if isinstance(result, Failure):
        log.end({})
        return
    if not log.knows(name) and result.restoration is not None:
        log.begin(name, asdict(result.restoration.settings))
        for step in result.restoration.history:
            log.step(step, result.point.loss)
    facts = {name: getattr(result, name) for name in ("trained_parameters", "best_step", "seconds", "tokens")}
    log.end(came_to(result.judged, None, **facts))


def _best(results: list[SweepResult | Failure], restoring: Callable[[Point], str]) -> dict[str, str]:
    """The command line that restores with the best settings, by loss."""
    return {loss: restoring(group[0].point) for loss, group in best_first(results).items()}


def _ends(results: list[SweepResult | Failure]) -> SweepResult | None:
    """Any result: all were measured beside the same dense and pruned model."""
    return next((result for result in results if isinstance(result, SweepResult)), None)


def _tell_json(
    results: list[SweepResult | Failure],
    grid: Grid,
    restoring: Callable[[Point], str],
    held_out: int,
    keeping: _Keeping,
) -> None:
    """What is done, for programs."""
    ends = _ends(results)
    models = {"dense": ends.judged.dense.figures(), "pruned": ends.judged.pruned.figures()} if ends else {}
    suffice = [
        {"setting": _named(replace(text.least.point, text=1.0)), "tokens": text.least.tokens, "says": str(text)}
        for text in enough(results)
    ]
    points = {"results": records(to_pandas(results)), "best": _best(results, restoring), "enough": suffice}
    points |= {"runs": keeping.folders}
    show_json(models | points | {"stopped": len(results) < len(grid.points())})


def _tell(
    results: list[SweepResult | Failure],
    grid: Grid,
    restoring: Callable[[Point], str],
    held_out: int,
    keeping: _Keeping,
) -> None:
    """What is done, for people."""
    ends = _ends(results)
    if ends is not None:
        say(f"{held_out} held-out windows: dense {shown(ends.judged.dense)}, pruned {shown(ends.judged.pruned)}")
    for loss, group in best_first(results).items():
        columns = ["heads", "components", "lr", "tokens", "held-out loss", "perplexity", "recovered", "nearer",
                   "nats against pruned", "trained", "best step", "s"]  # fmt: skip
        show_table(f"Loss {loss}, best first", columns, [_row(result) for result in group])
    for text in enough(results):
        say(f"{_named(replace(text.least.point, text=1.0))}: {text}")
    for result in results:
        if isinstance(result, Failure):
            say(f"Failed: {_named(result.point)}: {result.error}")
    if len(results) < len(grid.points()):
        say(f"Stopped after {len(results)} of {len(grid.points())} points.")
    best = _best(results, restoring)
    if best:
        say("The held-out windows chose the best step, and the order above with it. To restore with the best settings:")
    for line in best.values():
        say(line)
    if keeping.folders:
        say(
            f"{len(keeping.folders)} restorations are kept as runs, tagged '{keeping.tag}': list them with python -m "
            "restorelcc runs, compare them on the app's Compare page."
        )


def _row(result: SweepResult) -> list[str]:
    """Of the table of one loss."""
    point, judged = result.point, result.judged
    return [
        f"{point.heads:g}",
        point.components_written,
        f"{point.lr:g}",
        f"{result.tokens:,}",
        f"{result.held_out_loss:.4f}",
        shown(judged.restored),
        str(judged.recovered),
        str(judged.nearer),
        f"{judged.gain.nats:+.4f} ± {judged.gain.stderr:.4f}",
        str(result.trained_parameters),
        str(result.best_step),
        f"{result.seconds:.0f}",
    ]


def _named(point: Point) -> str:
    """Its settings, in words."""
    some = "" if point.text == 1 else f", {point.text:g} of the text"
    return f"heads {point.heads:g}, components {point.components_written}, lr {point.lr:g}, loss {point.loss}{some}"


def _asked(point: Point, asked: Asked) -> given.Asked:
    """What `restore` is asked to train this point again, and to judge it alike."""
    own = asked.own if point.heads < 1 else ""
    picks = given.Picks(point.heads, asked.score, point.components, own=own)
    settings = asked.grid.settings_of(point)
    models: dict[str, Any] = {"dense": asked.dense, "pruned": asked.pruned, "loading": asked.loading}
    kept: dict[str, Any] = {"elsewhere": "", "folder": Path(OUT), "format": "adapter", "name": None}
    return given.Asked(**models, text=asked.text, picks=picks, settings=settings, share=point.text, **kept)


def _command(point: Point, asked: Asked) -> str:
    """A `restore` command line that trains this point again."""
    settings, text, loading = asked.grid.settings, asked.text, asked.loading
    options = {"dense": asked.dense, "pruned": asked.pruned, "calibration": text.source, "windows": text.windows}
    options |= {"length": text.length, "seed": text.seed, "share": None if point.text == 1 else point.text}
    options |= {"heads": point.heads}
    options |= {"score": asked.score} if point.heads == 1 or not asked.own else {"own": asked.own}
    options |= {"components": point.components, "lr": point.lr, "loss": point.loss, "steps": settings.steps}
    if settings.kind != Settings.kind:
        options |= {"what": settings.kind, "where": settings.where}
    if settings.way != Settings.way:
        options |= {"way": settings.way}
    options |= {"device": loading.device, "dtype": loading.dtype, "out": OUT}
    parts = [part for name, value in options.items() if value is not None for part in (f"--{name}", str(value))]
    flags = {"--constants": settings.constants, "--allow-pickle": loading.allow_pickle}
    flags |= {"--trust-remote-code": loading.trust_remote_code}
    return shlex.join(["python", "-m", "restorelcc", "restore", *parts, *(flag for flag, on in flags.items() if on)])
