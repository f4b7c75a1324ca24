"""The terminal: tables, and errors as one line. The only part of the engine that prints."""

import io
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from ..errors import RestoreLCCError
from ..evaluation.perplexity import Perplexity
from ..hf.failures import RAN_OUT, out_of_memory
from ..processes import lost_another, process, wait_for_all
from ..storage.formats import plain

# No markup: a path may well hold [brackets].
out = Console(markup=False, highlight=False)


def quiet_libraries() -> None:
    """Their progress bars and notices are not about anything that the user asked for."""
    from datasets.utils.logging import disable_progress_bar as quiet_datasets
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    quiet_datasets()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    warnings.simplefilter("ignore", FutureWarning)  # What one library will ask of another.


def run(command: Callable[[], None]) -> None:
    """Run a command; what the user can mend exits with 2 and one message, Ctrl-C with 130."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # Names of files may be no text.
    try:
        quiet_libraries()
        if process() > 0:  # All come to the same; the first says it.
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
        command()
        wait_for_all()
    except RestoreLCCError as error:
        sys.stderr.write(f"Error: {error}\n")
        raise typer.Exit(2) from None
    except (RuntimeError, MemoryError) as error:
        if lost_another(error):
            sys.stderr.write(
                "Error: another process of this launch ended, and this one with it. What was kept until then stays: "
                "`python -m restorelcc runs` lists it.\n"
            )
            raise typer.Exit(2) from None
        if not out_of_memory(error):
            raise
        sys.stderr.write(f"Error: {RAN_OUT}\n")
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        sys.stderr.write("Stopped; nothing was left half-written.\n")
        raise typer.Exit(130) from None


def show_json(data: dict[str, Any]) -> None:
    """One object on stdout; JSON has no NaN or infinity, so they are null."""
    sys.stdout.write(json.dumps(plain(data), allow_nan=False) + "\n")


def say(line: str) -> None:
    """A line for people. Not through rich, which wraps paths, and prints twice what Ctrl-C interrupts."""
    sys.stdout.write(line + "\n")


def note(line: str) -> None:
    """A line for people beside the results, on stderr, so that results can be read by programs."""
    sys.stderr.write(line + "\n")


def show_table(title: str, columns: list[str], rows: list[list[str]], names: bool = False) -> None:
    """Text left, numbers right. names: the first column is of short names, and stays on one line however narrow the
    terminal is."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=names and index == 0)
    for row in rows:
        table.add_row(*row)
    out.print(table)


def shown(found: Perplexity) -> str:
    """With its standard error."""
    return f"{found.value:.3f} ± {found.stderr:.3f}"


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON has them, None where there is no number."""
    rows = frame.to_dict(orient="records")
    return [{str(key): None if value is pd.NA else value for key, value in row.items()} for row in rows]
