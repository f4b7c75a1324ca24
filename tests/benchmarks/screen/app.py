"""How the app answers, as a person would time it: `python tests/benchmarks/screen/app.py`, from the repository's root.

Chromium draws on the same processor, so these are upper bounds. The speed of a watched restoration is a ratio inside
one run: the same training by the engine alone, before and after, on the same machine.
"""

import re
import statistics
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "browser"), str(Path(__file__).resolve().parents[3])]

from people import CHROMIUM, DESKTOP, SLOW, User, click_cell, start
from playwright.sync_api import sync_playwright

from restorelcc.artifacts.findings import Recipe
from restorelcc.artifacts.runs import list_runs
from restorelcc.progress import finish
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything
from restorelcc.workspace import open_workspace

STEPS = Settings().steps  # what a person gets who starts one
TURNS = 5


def alone() -> float:
    """Tokens a second of the engine by itself."""
    workspace = finish(open_workspace(Recipe()))
    pair = workspace.pair()
    picks = everything(workspace.lost.shape)
    training = Training(pair, workspace.lost, picks, workspace.training, workspace.held_out, Settings(steps=STEPS))
    return list(islice(training.steps(), STEPS + 1))[-1].tokens_per_second


def picked(user: User, component: int) -> float:
    """Seconds from a tick to its perplexity in the header."""
    number = ".studio-header .number.picked b"
    before = user.page.locator(number).get_attribute("data-value")
    began = time.monotonic()
    user.page.locator(".st-key-ticks button", has_text=re.compile(f"^{component}$")).click()
    user.page.wait_for_function(
        "([css, old]) => { const v = document.querySelector(css)?.dataset.value; return v && v !== old }",
        arg=[number, before],
        polling=20,
    )
    return time.monotonic() - began


def clicked(user: User, layer: int, head: int) -> float:
    """Seconds from a click on a cell to the panel of its head."""
    user.settle()
    began = time.monotonic()
    click_cell(user.page, layer, head)
    user.page.locator(f'.tinted[data-head="L{layer} H{head}"]').wait_for()
    return time.monotonic() - began - 0.25  # the pause before the click


def watched(user: User, data: Path) -> float:
    """Tokens a second of a restoration that is looked at."""
    page = user.open("restore?picks=all", wait=".st-key-start-restoration button:enabled")
    steps = page.locator(".st-key-setting-steps input")
    steps.fill(str(STEPS))
    steps.press("Enter")
    page.wait_for_timeout(1000)
    user.settle()
    page.locator(".st-key-start-restoration button").click()
    page.locator(".st-key-norms").wait_for(timeout=10 * SLOW)
    return float(list_runs(data / "restorelcc" / "runs")[0].metrics()["tokens_per_second"].iloc[-1])


def compare(user: User, data: Path) -> None:
    """Watched and alone in turn, each watched one against the two around it: the machine's own speed wanders."""
    speeds = [alone()]
    for _ in range(TURNS):
        speeds += [watched(user, data), alone()]
    print("tokens/s alone, watched, alone, …: " + ", ".join(f"{speed:.0f}" for speed in speeds))
    ratios = [2 * speeds[i] / (speeds[i - 1] + speeds[i + 1]) for i in range(1, len(speeds), 2)]
    print(f"watched / alone: {', '.join(f'{r:.2f}' for r in ratios)}; median {statistics.median(ratios):.2f}")


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        place = Path(scratch)
        for kind in ("empty", "warm"):
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
            with start(place / "cache", place / "data", place / "log") as server:
                user = User(browser, server, DESKTOP)
                user.page.goto(server.url)
                user.page.locator(".st-key-head-map .js-plotly-plot").wait_for(timeout=SLOW)
                print(f"{kind} cache to the first heat map: {time.monotonic() - server.started:.1f} s")
                if kind == "warm":
                    user.page.wait_for_timeout(8000)
                    user.open("?head=0.0", wait=".tinted")
                    times = [clicked(user, layer, 2) for layer in range(1, 7)]
                    print(f"click to panel: median {statistics.median(times):.2f} s of {len(times)}")
                    user.open("components?head=2.3")
                    times = [picked(user, component) for component in range(9)]
                    print(f"pick to perplexity: median {statistics.median(times):.2f} s of {len(times)}")
                    compare(user, place / "data")
            browser.close()


if __name__ == "__main__":
    main()
