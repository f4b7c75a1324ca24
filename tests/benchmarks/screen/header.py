"""How soon picks are answered: `python tests/benchmarks/screen/header.py [--picks 20]`, from the repository's root.

Milliseconds in the browser from a click that changes the picks to the frame in which the header shows what they are
predicted to do; of the embedded pair, and of a random model of 12 layers, 1 024 wide, pruned by magnitudes. Every pick
follows while the one before is being measured, as from somebody who ticks without a pause, or once that is over.
Chromium draws on the same processor, so these are upper bounds.
"""

import argparse
import re
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT / "tests" / "browser"), str(ROOT)]

from people import CHROMIUM, DESKTOP, SLOW, User, start
from playwright.sync_api import sync_playwright

from tests.benchmarks.__main__ import pair_of

PREDICTED = ".studio-header .number.picked b[data-predicted]"
WATCH = """() => {
  window.answered = [];
  const shown = () => document.querySelector('.studio-header .number.picked b')?.dataset.predicted;
  let began = 0, before;
  document.addEventListener('click', event => {
    if (event.target.closest('.st-key-ticks')) [began, before] = [performance.now(), shown()];
  }, true);
  new MutationObserver(() => {
    const now = shown(), since = began;
    if (!since || !now || now === before) return;
    began = 0;
    requestAnimationFrame(() => scheduler.postTask(  // after the frame is painted, before what comes next
      () => window.answered.push(performance.now() - since), {priority: 'user-blocking'}));
  }).observe(document.body, {childList: true, subtree: true, attributes: true});
}"""


def saved(folder: Path) -> str:
    """The wide pair in a folder; how a link names it."""
    pair = pair_of("wide")
    for name, model in (("dense", pair.dense), ("pruned", pair.pruned)):
        model.save_pretrained(folder / name)
        pair.tokenizer.save_pretrained(folder / name)
    return f"&dense={folder / 'dense'}&pruned={folder / 'pruned'}&windows=16&captured=2&length=128"


def tick(user: User, component: int) -> None:
    """Or untick."""
    user.page.locator(".st-key-ticks button", has_text=re.compile(f"^{component}$")).click()


def foreseen(user: User) -> None:
    """Tick and untick until picks are predicted: that takes a pass in the background first."""
    while not user.page.locator(f"{PREDICTED}, .foretold").count():
        tick(user, 0)
        user.page.wait_for_timeout(2000)


def answered(user: User, picks: int, settled: bool) -> list[float]:
    """Milliseconds until each of so many picks was answered. settled: they wait for the measurement before."""
    page = user.page
    page.reload()
    page.locator(".st-key-ticks button").nth(picks).wait_for(timeout=SLOW)
    user.perplexity()
    page.evaluate(WATCH)
    for number in range(picks):
        tick(user, number + 1)
        page.wait_for_function("count => window.answered.length > count", arg=number, timeout=SLOW)
        if settled:
            user.perplexity()
    times: list[float] = page.evaluate("window.answered")
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picks", type=int, default=20)
    parser.add_argument("--pairs", default="demo,wide", help="with commas: demo, wide")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        place = Path(scratch)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        with start(place / "cache", place / "data", place / "log") as server:
            for name in args.pairs.split(","):
                user = User(browser, server, DESKTOP)
                for layer, settled in ((2, True), (3, False)):
                    link = saved(place / name) if name == "wide" else ""
                    user.open(f"components?head={layer}.3{link}", ".st-key-ticks button")
                    foreseen(user)
                    times = sorted(answered(user, args.picks, settled))
                    print(
                        f"{name}, {'at rest' if settled else 'while the last is measured'}: pick to prediction median "
                        f"{statistics.median(times):.0f} ms, slowest {times[-1]:.0f} ms of {len(times)}",
                        flush=True,
                    )
                user.context.close()
        browser.close()


if __name__ == "__main__":
    main()
