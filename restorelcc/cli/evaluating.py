"""What can be asked of `evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import SettingError
from ..evaluation.tasks.known import TASKS
from .choices import given_as
from .given.options import Config
from .shared import MOST, Device, Dtype, Json, Length, Pickle, Trust, loading_of

OF_TEXT = ("text", "stride", "windows", "length")
"""Options that say what text is predicted, and how."""


def evaluate(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="See MODEL below.")],
    adapter: Annotated[Path | None, typer.Option(metavar="DIR", help="A restoration to put on top.")] = None,
    against: Annotated[
        str | None, typer.Option(metavar="DENSE", help="The dense model: how far the next token is from its own, too.")
    ] = None,
    text: Annotated[str, typer.Option("--text", metavar="SRC", help="Text to predict; see SRC below.")] = "demo",
    stride: Annotated[
        int | None,
        typer.Option(min=1, max=MOST, help="Tokens between windows; less than --length gives context."),
    ] = None,
    windows: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Windows at most. Default: the whole text.")
    ] = None,
    length: Length = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help=f"Questions instead of a text: of {', '.join(TASKS)}, from the hub, or FILE.jsonl with a question a "
            "row (query, choices, gold; or sentence_good, sentence_bad).",
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, max=MOST, help="Questions of each task at most, the first. Default: all.")
    ] = None,
    speed: Annotated[
        bool,
        typer.Option(
            "--speed", help="Tokens a second and memory instead, of all models that are named, in turn; see --rounds."
        ),
    ] = False,
    rounds: Annotated[int, typer.Option(min=2, max=MOST, help="Rounds that --speed times all models in.")] = 7,
    device: Device = "auto",
    dtype: Dtype = "auto",
    allow_pickle: Pickle = False,
    trust_remote_code: Trust = False,
    config: Config = None,
    json: Json = False,
) -> None:
    """Perplexity with its standard error; with --tasks, the share of questions answered right; with --speed, the cost.

    Text is cut into windows side by side; every token but the first of each is scored, the last, shorter window
    included, and start tokens never. [bold]--text wikitext2[/bold] is the usual protocol of published figures: the test
    split as one text, its lines joined by blank lines.

    Questions are asked without examples, as lm-eval asks and scores them, of the model, of the dense one (--against)
    and with what is put back (--adapter), with differences by question.
    """
    from ..evaluation.speed.timing import Load
    from . import console
    from .commands.evaluating import states
    from .commands.evaluating import text as of_text
    from .commands.evaluating.speed import time
    from .commands.evaluating.tasks import ask

    def run() -> None:
        loading = loading_of(device, dtype, allow_pickle, trust_remote_code)
        if speed:
            _refuse(context, "--speed times the same random tokens in all models", (*OF_TEXT, "tasks", "limit"))
            time(states.Named(model, adapter, against), Load(rounds=rounds), loading, json)
            return
        _refuse(context, "Without --speed nothing is timed", ("rounds",))
        if tasks is not None:
            _refuse(context, "--tasks asks questions of its own", OF_TEXT)
            ask(states.Named(model, adapter, against), tasks, limit, loading, json)
            return
        _refuse(context, "Without --tasks nothing is asked", ("limit",))
        asked = of_text.Asked(model, adapter, against, text, stride, windows, length)
        of_text.evaluate(asked, loading, json)

    console.run(run)


def _refuse(context: typer.Context, why: str, options: tuple[str, ...]) -> None:
    """Raises SettingError where one of these is given, which would do nothing."""
    extra = [f"--{name}" for name in options if given_as(context, name) is not None]
    if extra:
        raise SettingError(f"{why}, so {', '.join(extra)} would do nothing. Leave that out.")
