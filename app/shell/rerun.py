"""One rerun of the app, whichever page it is on; started by `main.py`."""

from pathlib import Path

from app.shell import preload

preload.start()

from app.shell import frame  # noqa: E402 - takes seconds the first time, and the browser has something to do meanwhile

frame.run(Path(__file__).resolve().parents[2])
