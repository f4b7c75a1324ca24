"""`python -m restorelcc`: hands over to the command line."""

from .cli.options import app

if __name__ == "__main__":
    app(prog_name="python -m restorelcc")
