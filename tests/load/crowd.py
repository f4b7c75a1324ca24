"""Many people at once, each with picks of their own, who talk to a server as a browser does, without drawing.

python tests/load/crowd.py --people 30 --seconds 300        # by hand; says what was measured

A person follows a link with picks, waits for the perplexity in the header, changes one thing, follows the next. That is
more than a click costs: the page is made anew each time.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from streamlit.proto.BackMsg_pb2 import BackMsg  # noqa: E402
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg  # noqa: E402
from websockets.asyncio.client import connect  # noqa: E402

from app.values.picks import Picks  # noqa: E402
from restorelcc.artifacts.findings import Recipe  # noqa: E402
from restorelcc.compensation.constants import injected  # noqa: E402
from restorelcc.compensation.interface import compensated  # noqa: E402
from restorelcc.evaluation.perplexity import perplexity  # noqa: E402
from restorelcc.progress import finish  # noqa: E402
from restorelcc.workspace import open_workspace  # noqa: E402

SHAPE = (8, 8, 32)  # of the embedded pair: layers, heads, components
FILLED = 60  # numbers after which what is kept for people is as large as it gets
PATIENCE = 600  # seconds in which a number has to come
NUMBER = re.compile(r'class="number picked"[^>]*>.*?data-value="([^"]+)"', re.DOTALL)


@dataclass
class Seen:
    """What a crowd met with."""

    seconds: list[float] = field(default_factory=list)
    """From following a link to its number."""
    numbers: list[tuple[str, float]] = field(default_factory=list)
    """(picks, perplexity in the header)"""
    troubles: list[str] = field(default_factory=list)
    """Exceptions and errors that a page showed."""

    def percentile(self, share: float) -> float:
        return sorted(self.seconds)[math.ceil(share * len(self.seconds)) - 1]


@contextmanager
def served(home: Path) -> Iterator[tuple[int, int]]:
    """The app on a port of its own, with an empty cache: (port, process)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {"HOME": str(home), "XDG_CACHE_HOME": str(home), "XDG_DATA_HOME": str(home)}
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=ROOT, env=os.environ | places, stdout=log, stderr=subprocess.STDOUT)
    try:
        until = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None
                assert time.monotonic() < until
                time.sleep(0.2)
        yield port, server.pid
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def memory(process: int) -> float:
    """Megabytes that a process holds."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


async def follow(port: int, picks: str, seen: Seen) -> None:
    """Open the app by a link, and leave once the number of its picks is there."""
    began, name = time.monotonic(), f"127.0.0.1:{port}"
    async with connect(f"ws://{name}/_stcore/stream", origin=f"http://{name}", max_size=None) as browser:
        hello = BackMsg()
        hello.rerun_script.query_string = urlencode({"picks": picks})
        await browser.send(hello.SerializeToString())
        while True:
            message = ForwardMsg()
            message.ParseFromString(await asyncio.wait_for(browser.recv(), PATIENCE))
            if message.WhichOneof("type") == "script_finished":  # without a number: the pair is being opened
                await asyncio.sleep(0.5)
                await browser.send(hello.SerializeToString())
            element = message.delta.new_element
            if element.WhichOneof("type") == "exception":
                seen.troubles.append(element.exception.message)
                return
            if element.WhichOneof("type") == "alert" and element.alert.format == element.alert.ERROR:
                seen.troubles.append(element.alert.body)
                return
            number = NUMBER.search(element.html.body) if element.WhichOneof("type") == "html" else None
            if number is not None:
                seen.seconds.append(time.monotonic() - began)
                seen.numbers.append((picks, float(number[1])))
                return


async def person(port: int, seed: int, until: float, pause: float, enough: int, seen: Seen) -> None:
    """Looks at one head after the other, and puts components of it back, a bit more or less of each."""
    draw = random.Random(seed)
    picks = Picks.none(SHAPE)
    await asyncio.sleep(draw.random() * pause)
    while time.monotonic() < until:
        head = draw.randrange(SHAPE[0]), draw.randrange(SHAPE[1])
        for _ in range(draw.randrange(1, 5)):
            # A factor of their own: no two people ask for the same.
            picks = picks.scaled((*head, draw.randrange(8)), round(draw.uniform(0.5, 2), 3))
            await follow(port, picks.to_text(), seen)
            await asyncio.sleep(pause * draw.uniform(0.5, 1.5))
            if time.monotonic() >= until or len(seen.numbers) >= enough:
                return
        if len(picks) > 30:
            picks = Picks.none(SHAPE)


def crowd(port: int, people: int, seconds: float, pause: float = 0.0, seed: int = 0, enough: int = sys.maxsize) -> Seen:
    """So many people for so long, or until they saw `enough` numbers. pause: seconds for which they look at one, on
    average."""
    seen = Seen()

    async def all_of_them() -> None:
        until = time.monotonic() + seconds
        await asyncio.gather(
            *(person(port, 1000 * seed + index, until, pause, enough, seen) for index in range(people))
        )

    asyncio.run(all_of_them())
    return seen


def wrong(seen: Seen, most: int | None = None) -> list[str]:
    """Numbers that are not what the engine gives for these picks alone. most: so many of them, drawn by chance."""
    workspace = finish(open_workspace(Recipe()))
    prefix, differ = workspace.prefix(), []
    checked = seen.numbers if most is None else random.Random(0).sample(seen.numbers, min(most, len(seen.numbers)))
    for text, shown in checked:
        picks = Picks.from_text(text, SHAPE)
        back = injected(workspace.lost, picks.weights())
        work = prefix.again(min(picks.by_layer()), lambda back=back: compensated(prefix.model, back))
        alone = perplexity(finish(work)).value
        if not math.isclose(alone, shown, rel_tol=1e-6):
            differ.append(f"{text}: {shown} on the page, {alone} alone")
    return differ


def main() -> None:
    """What was measured, as text."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that people look at a number")
    parser.add_argument("--checked", type=int, help="numbers held against the engine's; all of them by default")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        with served(Path(home)) as (port, process):
            crowd(port, 1, 1)  # opens the pair
            crowd(port, given.people, PATIENCE, seed=1, enough=FILLED)
            alone = crowd(port, 1, 30, given.pause, seed=2)
            before = memory(process)
            together = crowd(port, given.people, given.seconds, given.pause, seed=3)
            after = memory(process)
        ratio = together.percentile(0.95) / alone.percentile(0.95)
        for who, seen in (("alone", alone), (f"{given.people} people", together)):
            middle, late = seen.percentile(0.5), seen.percentile(0.95)
            print(f"{who}: {len(seen.seconds)} numbers, p50 {middle:.2f} s, p95 {late:.2f} s")
        print(f"p95 {ratio:.1f} times that of one; memory {before:.0f} MB before, {after:.0f} MB after")
        print(f"troubles: {together.troubles[:5] or 'none'}", flush=True)
        os.environ["XDG_CACHE_HOME"] = home
        print(f"wrong numbers: {wrong(together, given.checked)[:5] or 'none'}")


if __name__ == "__main__":
    main()
