"""Take the README's pictures again: `python tests/browser/screenshots.py [folder]`, from the repository's root.

Real pages of the embedded pair, light, at a desk's size. A restoration of some steps is made first, so that the pages
that show one have one to show.
"""

import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

import numpy as np
from people import CHROMIUM, DESKTOP, ROOT, SLOW, User, start
from PIL import Image
from playwright.sync_api import sync_playwright

PICKS = "1.2~2.6~3.2~5.0_0-7~5.1"
VIEWS = {
    "pair": ("pair", ".st-key-sparsity .js-plotly-plot"),
    "heads": (f"?head=2.6&picks={PICKS}", ".st-key-attention-dense .js-plotly-plot"),
    "components": (f"components?head=5.0&picks={PICKS}", ".st-key-plane .js-plotly-plot"),
    "restore": (f"restore?picks={PICKS}", ".st-key-norms .js-plotly-plot"),
    "compare": ("compare", "[data-testid=stDataFrame]"),
    "learn": ("learn", ".js-plotly-plot"),
}


def restored(user: User) -> str:
    """Watch a restoration of everything to its end; the link to it."""
    page = user.open("restore?picks=all", wait=".st-key-start-restoration button:enabled")
    for name, value in (("setting-steps", "60"), ("run-name", "all heads, 60 steps")):
        page.locator(f".st-key-{name} input").fill(value)
        page.locator(f".st-key-{name} input").press("Enter")
        user.settle()
    page.locator(".st-key-start-restoration button").click()
    page.locator(".st-key-norms .js-plotly-plot").wait_for(timeout=10 * SLOW)
    user.settle()
    return page.url.rpartition("/")[2]


def made_smaller(picture: Path) -> None:
    """With 256 colours, each pixel of the nearest: a third of the size. The commonest are kept as they are, so that
    areas are; the others are what all the rest come to, however rare, such as those of a scale."""
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    colours, where, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    order = np.argsort(-counts)
    rest = Image.fromarray(colours[order[128:], None]).quantize(128).convert("RGB")
    kept = np.concatenate([colours[order[:128]], np.unique(np.asarray(rest).reshape(-1, 3), axis=0)])
    nearest = ((colours[:, None].astype(int) - kept.astype(int)) ** 2).sum(-1).argmin(1)
    small = Image.fromarray(nearest[where].reshape(pixels.shape[:2]).astype(np.uint8))
    small.putpalette(kept.tobytes())
    small.save(picture, optimize=True)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "assets" / "screens")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        place = Path(scratch)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
        with start(place / "cache", place / "data", place / "log") as server:
            user = User(browser, server, DESKTOP)
            run = restored(user)
            for name, (path, wait) in VIEWS.items():
                page = user.open(run if name == "restore" else path, wait)
                page.wait_for_timeout(1500)
                page.screenshot(path=folder / f"{name}.png")
                made_smaller(folder / f"{name}.png")
                print(folder / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
