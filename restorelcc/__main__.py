"""`python -m restorelcc`: hands over to the command line."""

from .cli import judging

if __name__ == "__main__":
    judging.app(prog_name="python -m restorelcc")
