"""The app as a subprocess, and people who look at it, each in a browser context of their own."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, expect

ROOT = Path(__file__).resolve().parents[2]
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
READY = "[data-testid=stApp][data-test-script-state=notRunning]"
SLOW = 180_000  # milliseconds; for what models have to be loaded for, on a busy machine
SOON = 60_000  # for everything else; nobody waits longer than it takes
expect.set_options(timeout=SOON)
QUICK = "length=64&windows=24&captured=4&evaluated=4"
"""In a link, the embedded pair with so little text that what is restored of it is judged in seconds, not in half a
minute."""
# Pages are painted without the stand-in for a graphics card that WebGL has: all on it takes twice the processor's time.
CHROMIUM = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]


@dataclass(frozen=True)
class Server:
    """A running app."""

    url: str
    cache: Path
    data: Path
    started: float
    """time.monotonic() before its process was started."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class start:  # noqa: N801 - reads as a verb in `with start(…)`
    """The app, or another script, as a subprocess, for the length of a `with`."""

    def __init__(self, cache: Path, data: Path, log: Path, script: str = "app/main.py") -> None:
        self.cache, self.data, self.log, self.script = cache, data, log, script

    def __enter__(self) -> Server:
        port, began = free_port(), time.monotonic()
        environment = os.environ | {"XDG_CACHE_HOME": str(self.cache), "XDG_DATA_HOME": str(self.data)}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", self.script, "--server.port", str(port)],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        url = f"http://127.0.0.1:{port}"
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{url}/_stcore/health", timeout=1).close()
                return Server(url, self.cache, self.data, began)
            except OSError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.1)
        raise TimeoutError(self.log.read_text())

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)


class User:
    """A browser context of its own: cookies, and so an owner, apart from everybody else's."""

    def __init__(self, browser: Browser, server: Server, viewport: dict[str, int], scheme: str = "light") -> None:
        self.server = server
        self.context: BrowserContext = browser.new_context(viewport=viewport, color_scheme=scheme)  # type: ignore[arg-type]
        self.context.set_default_timeout(SOON)
        self.page: Page = self.context.new_page()

    def open(self, path: str, wait: str = ".js-plotly-plot") -> Page:
        """Go to a page of the app and wait until it stands still."""
        self.page.goto(f"{self.server.url}/{path}")
        self.page.locator(wait).first.wait_for(timeout=SLOW)
        self.settle()
        return self.page

    def settle(self) -> None:
        """Until no script runs and no exception shows."""
        self.page.wait_for_timeout(150)
        self.page.locator(READY).wait_for(timeout=SLOW)
        assert self.page.locator("[data-testid=stException]").count() == 0

    def perplexity(self, kind: str = "picked") -> float:
        """In the header, unrounded, once it is measured."""
        self.settle()
        number = self.page.locator(f".studio-header .number.{kind} b[data-value]")
        number.wait_for(timeout=SLOW)
        return float(str(number.get_attribute("data-value")))

    def picked(self) -> int:
        """How many components the header says are picked."""
        self.settle()
        found = re.search(r"([\d,]+) picked", self.page.locator(".studio-header").inner_text())
        assert found is not None
        return int(found[1].replace(",", ""))


def cell(page: Page, layer: int, head: int, chart: str = "head-map") -> tuple[float, float]:
    """Where a cell of a map of the embedded pair's heads is on the screen."""
    point = page.locator(f".st-key-{chart} .points path.point").nth(8 * layer + head)
    point.wait_for()
    box = point.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def click_at(page: Page, x: float, y: float) -> None:
    """Click what a chart has there, once it has noticed the mouse."""
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    page.wait_for_timeout(250)
    page.mouse.click(x, y)


def click_cell(page: Page, layer: int, head: int) -> None:
    """Click a cell of the map of heads."""
    click_at(page, *cell(page, layer, head))
