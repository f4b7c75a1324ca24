"""`evaluate --speed`: tokens a second and memory of a model, beside the dense one and with what is put back."""

from __future__ import annotations

from ....evaluation.speed.kernels import with_kernels
from ....evaluation.speed.timing import Load, Speeds, Spread, timed
from ....models.loading import Loading
from ....progress_bar import watched
from ...console import say, show_json, show_table
from .states import Named, opened


def time(named: Named, load: Load, loading: Loading, as_json: bool) -> None:
    """All models that are named, in turn."""
    models, _ = opened(named, loading, as_run=True)
    speeds = watched(timed(with_kernels(models), load))
    if as_json:
        show_json(speeds.figures())
        return
    _tell(speeds)


def _tell(speeds: Speeds) -> None:
    load = speeds.load
    columns = ["", "prefill, tokens/s", "decoding, tokens/s", "weights, MB", "beside them, MB"]
    rows = []
    for name, speed in speeds.models.items():
        read, written = speeds.rates(name)
        beside = "–" if speed.beside is None else f"{speed.beside / 1e6:,.0f}"
        rows.append([name, _rate(read), _rate(written), f"{speed.weights / 1e6:,.0f}", beside])
    title = f"{load.prompt} tokens read, {load.new} written, medians of {load.rounds} rounds; {speeds.machine}"
    show_table(title, columns, rows)
    for name in speeds.models:
        if name != "pruned" and "pruned" in speeds.models:
            read, written = speeds.ratio(name, "pruned")
            say(f"{name} against pruned, in the same rounds: prefill × {_ratio(read)}, decoding × {_ratio(written)}")
    say("In brackets, the middle half of the rounds. Zeros save neither time nor memory but in kernels made for them.")


def _rate(spread: Spread) -> str:
    return f"{spread.median:,.0f} ({spread.low:,.0f}–{spread.high:,.0f})"


def _ratio(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f}–{spread.high:.2f})"
