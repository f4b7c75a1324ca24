"""Calling the command line as a shell would."""

import json

from typer.testing import CliRunner

from restorelcc.cli.options import app


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def answer(*arguments):
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)
