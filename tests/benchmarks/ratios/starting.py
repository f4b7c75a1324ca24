"""What the app costs beside what it is made of: its start beside a bare import, a rerun beside an empty page's. In a
browser, on the embedded pair."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "browser"))

from people import DESKTOP, READY, SLOW, start
from playwright.sync_api import Browser, Page, sync_playwright

from restorelcc.artifacts.findings import Recipe, kept_findings
from restorelcc.progress import finish
from restorelcc.workspace import open_workspace

from .timing import Row, Seconds

IMPORTS = "import torch, streamlit, plotly.graph_objects, pandas; from transformers import LlamaForCausalLM"
FIRST_MAP = ".st-key-arriving-map .js-plotly-plot, .st-key-head-map .js-plotly-plot"
"""The rough one of what is read so far, or that of a pair that is open."""
RERUNS = 9
WATCHED = """() => { window.took = new Promise(done => {
  const app = document.querySelector('[data-testid=stApp]'), began = performance.now();
  const seen = new MutationObserver(() => {
    if (app.getAttribute('data-test-script-state') === 'notRunning') {
      seen.disconnect();
      done(performance.now() - began);
    }
  });
  seen.observe(app, {attributes: true, attributeFilter: ['data-test-script-state']});
  setTimeout(() => { seen.disconnect(); done(0); }, 3000);
}) }"""
"""Milliseconds until a script has ended; 0 where none was seen to."""


def app_rows() -> Iterator[Row]:
    """Start, cold and warm; a pair that is known; a rerun."""
    finish(open_workspace(Recipe()))  # Known from here on.
    yield Row("opening a pair that is known / reading what is kept of it", lambda: finish(open_workspace(Recipe())),
              lambda: kept_findings(Recipe()))  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        place = Path(scratch)
        yield Row("server start to the first map, cold / a bare import", partial(_started, browser, place, True),
                  _imported, 1.5)  # fmt: skip
        yield Row("server start to the first map, warm / a bare import", partial(_started, browser, place, False),
                  _imported, 0.7)  # fmt: skip
        empty = place / "empty.py"
        empty.write_text("import streamlit as st\n\nst.write('Nothing.')\n")
        with (
            start(place / "cache", place / "data", place / "log") as ours,
            start(place / "cache", place / "data", place / "log-empty", str(empty)) as theirs,
        ):
            pages = [browser.new_context(viewport=DESKTOP).new_page() for _ in range(2)]
            for page, server, there in zip(pages, (ours, theirs), (FIRST_MAP, READY), strict=True):
                page.goto(server.url)
                page.locator(there).first.wait_for(timeout=SLOW)
            pages[0].wait_for_timeout(20_000)  # until the models are there, and predictions
            yield Row("rerun of the Heads page / of an empty page", partial(_rerun, pages[0]),
                      partial(_rerun, pages[1]), 3.0)  # fmt: skip
        browser.close()


def _imported() -> None:
    subprocess.run([sys.executable, "-c", IMPORTS], check=True)


def _started(browser: Browser, place: Path, cold: bool) -> Seconds:
    """From the start of the server's process to the map."""
    with tempfile.TemporaryDirectory() as fresh:
        cache = Path(fresh) if cold else place / "cache"
        with start(cache, place / "data", place / "log") as server:
            context = browser.new_context(viewport=DESKTOP)
            page = context.new_page()
            page.goto(server.url)
            page.locator(FIRST_MAP).first.wait_for(timeout=SLOW)
            took = time.monotonic() - server.started
            # What is found is kept, so that the next start is warm.
            page.locator(".st-key-head-map .js-plotly-plot").wait_for(timeout=SLOW)
            context.close()
            return Seconds(took)


def _rerun(page: Page) -> Seconds:
    """Median, from the key that asks for one to the end of the script."""
    times = []
    for _ in range(RERUNS):
        page.evaluate(WATCHED)
        page.keyboard.press("r")
        times.append(float(page.evaluate("window.took")) / 1000)
        page.wait_for_timeout(100)
    return Seconds(statistics.median(each for each in times if each))
