"""The app's entry: `python -m streamlit run app/main.py`.

The server opens the embedded pair as it starts, so that work is under way while the first browser still loads.
"""

import gc
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from streamlit import config

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # a bare `streamlit run` puts only this folder there

from app.shell.doorkeeper import Doorkeeper  # noqa: E402 - found by the line above
from app.shell.files import ROUTES  # noqa: E402
from app.values import permits, rules  # noqa: E402

# Every message to a browser gives the interpreter away, and gets it back from a thread that computes only after this
# long: at the usual 5 ms half a dozen messages are a tenth of a second.
sys.setswitchinterval(5e-4)

if Path(sys.argv[0]).resolve() == Path(__file__).resolve():
    try:
        file, rest = rules.parted(sys.argv[1:])
        processes, rest = rules.parted(rest, rules.PROCESSES)
        permits.give(rest)
        names = config.get_option("server.allowedHosts") or ()
        rules.give(file, config.get_option("server.address"), names, processes)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
else:  # another server's command line is its own affair, and so is who reaches it
    rules.give(None, None, ())


def open_first() -> None:
    """In a thread of its own: torch and the rest take seconds to import."""
    # What is imported stays; looking through it for garbage again and again took a fifth of the time.
    gc.disable()
    try:
        from app.shell import frame  # noqa: F401 - the frame stands on everything that pages are drawn with
        from app.work import open_pairs
        from restorelcc.artifacts.findings import Recipe
    finally:
        gc.freeze()
        gc.enable()
    open_pairs.opening(Recipe(), owner="")


@asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """What the server does as it starts: begin to open the embedded pair."""
    threading.Thread(target=open_first, name="open-first", daemon=True).start()
    yield


app = st.App("shell/rerun.py", lifespan=lifespan, routes=ROUTES, middleware=[Middleware(Doorkeeper)])
