"""`python -m restorelcc`: hands over to the command line."""

from .cli.judging import app

if __name__ == "__main__":
    app(prog_name="python -m restorelcc")
