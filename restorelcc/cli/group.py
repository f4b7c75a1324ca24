"""How a command line that makes no sense is told."""

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from ..errors import SettingError


class OneLine(TyperGroup):
    """Commands of which a misuse is told as every other error is: in one line."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that `args` name."""
        given = sys.argv[1:] if args is None else args
        if not given:  # Help is what is told then, and is many lines.
            return super().main(args, prog_name, complete_var, standalone_mode, windows_expand_args, **extra)
        try:
            code = super().main(args, prog_name, complete_var, False, windows_expand_args, **extra)
        except typer.TyperException as error:
            told: str = getattr(error, "format_message", error.__str__)()  # It names the option too.
            sys.stderr.write(f"Error: {SettingError(told.rstrip('.') + '. See --help.')}\n")
            sys.exit(2)
        sys.exit(code or 0)
