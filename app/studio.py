"""One rerun of the app, whichever page it is on; started by `main.py`."""

from pathlib import Path

from app import frame

frame.run(Path(__file__).resolve().parents[1])
