"""What is shown is what it says it is: texts apart, figures that name their text, links and pairs that are wrong told,
runs that can be found again, and a queue in which nobody waits without knowing what for."""

import json
import random
import re
from pathlib import Path
from urllib.parse import quote

import pytest
from conftest import WORDS
from fixtures import browser, people, server, user
from people import DESKTOP, QUICK, SLOW, Server, User, click_at
from playwright.sync_api import Browser, Page, expect

from restorelcc.restoration.baselines.methods import METHODS

__all__ = ["browser", "people", "server", "user"]  # fixtures that pytest finds by name

pytestmark = pytest.mark.browser


@pytest.fixture
def story(tmp_path: Path) -> Path:
    (tmp_path / "story.txt").write_text(" ".join(random.Random(0).choices(WORDS, k=900)))
    return tmp_path / "story.txt"


def link(dense: Path, pruned: Path, story: Path, **more: str) -> str:
    """Of a pair of one's own, with one file to calibrate and to evaluate on."""
    view = {"dense": dense, "pruned": pruned, "calibration": story, "evaluation": story, "length": 32, "windows": 12}
    return "?" + "&".join(f"{name}={quote(str(value))}" for name, value in (view | more).items())


DRAWN = """window.counts = [];  // tokens that a map was drawn from while its pair was opened, in order
new MutationObserver(() => {
  const said = document.body?.textContent.match(/from ([\\d,]+) tokens so far/);
  const count = said && +said[1].replaceAll(',', '');
  const map = document.querySelector('.st-key-arriving-map .js-plotly-plot');
  if (count && map && !window.counts.includes(count)) window.counts.push(count);
}).observe(document, {childList: true, subtree: true, characterData: true})"""


def press(page: Page, key: str) -> None:
    page.locator(f".st-key-{key} button:enabled").first.click(timeout=SLOW)


def test_swapped_and_equal_models_are_told_and_one_text_for_both_is_divided(
    user: User, folders: tuple[Path, Path], story: Path
) -> None:
    dense, pruned = folders
    page = user.page
    page.goto(f"{user.server.url}/pair{link(pruned, dense, story)}")
    expect(page.get_by_text("the wrong way round")).to_be_visible(timeout=SLOW)
    expect(page.locator(".st-key-pair-dense input")).to_have_value(
        str(pruned)
    )  # The form begins with the pair in view.
    press(page, "swap")
    expect(page.locator(".studio-header")).to_be_visible(timeout=SLOW)
    expect(page.get_by_text("windows stand in the calibration text too and are left out")).to_be_visible(timeout=SLOW)
    expect(page.locator(".studio-header")).to_contain_text("of story.txt, live set")
    page.goto(f"{user.server.url}/pair{link(dense, dense, story)}")
    expect(page.get_by_text("one model given twice")).to_be_visible(timeout=SLOW)


def test_what_is_wrong_with_a_link_or_a_name_is_said(user: User) -> None:
    page = user.open("restore?head=nine&metric=shiny&run=2020-gone&picks=1.2", wait=".st-key-dismiss-said")
    expect(page.get_by_text("Of the link, measure 'shiny', head 'nine' cannot be read")).to_be_visible()
    expect(page.get_by_text("The restoration that the link names is no longer kept here")).to_be_visible()
    press(page, "dismiss-said")
    expect(page.get_by_text("cannot be read")).to_have_count(0, timeout=SLOW)
    name = page.locator(".st-key-run-name input")
    name.fill("x" * 61)
    name.press("Enter")
    expect(page.get_by_text("A name of 61 characters does not do")).to_be_visible(timeout=SLOW)
    expect(page.locator(".st-key-start-restoration button").first).to_be_disabled()
    page.get_by_role("link", name="Compare").first.click()
    expect(page.get_by_text("The run that the link names, 2020-gone, is not kept here")).to_be_visible(timeout=SLOW)


def test_who_waits_is_told_what_for(user: User, people: list[User], browser: Browser, server: Server) -> None:
    page = user.open(f"restore?picks=all&{QUICK}", wait=".st-key-start-restoration button:enabled")
    press(page, "start-restoration")
    page.locator(".st-key-live-loss").wait_for(timeout=SLOW)
    other = User(browser, server, DESKTOP)
    people.append(other)
    other.page.add_init_script(DRAWN)
    other.page.goto(f"{server.url}/heads?windows=95&captured=48")
    expect(
        other.page.get_by_text(re.compile(r"waiting for Restoring .*somebody else's.*place 1 in the queue"))
    ).to_be_visible(timeout=SLOW)
    third = User(browser, server, DESKTOP)
    people.append(third)
    third.open(f"?{QUICK}")  # what is known waits for nobody
    page.locator(".st-key-cancel-restoration button").first.click()
    # The map is there with the first texts that are read, its cells can be clicked, and it sharpens.
    so_far = other.page.get_by_text("Layer 2, head 6, so far:")
    other.page.locator(".st-key-arriving-map .points path.point").first.wait_for(timeout=SLOW)
    point = other.page.locator(".st-key-arriving-map .points path.point").nth(8 * 2 + 6)
    while not so_far.is_visible():  # Between two drawings it is nowhere, and a click is lost.
        box = point.bounding_box()
        if box is not None:
            click_at(other.page, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        other.page.wait_for_timeout(500)
    other.page.locator(".st-key-head-map").wait_for(timeout=SLOW)
    expect(other.page.get_by_role("heading", name="Layer 2, head 6")).to_be_visible(timeout=SLOW)
    counts = other.page.evaluate("counts")
    assert len(counts) >= 2
    assert counts == sorted(counts)
    assert 0 < counts[0] < 48 * 256
    page.locator(".st-key-norms").wait_for(timeout=SLOW)


def test_methods_are_held_against_each_other_and_what_came_of_it_is_kept(
    user: User, folders: tuple[Path, Path], story: Path
) -> None:
    page = user.page
    page.goto(f"{user.server.url}/compare{link(*folders, story)}")
    page.locator(".st-key-neighbours-form summary").click(timeout=SLOW)
    steps = page.locator(".st-key-neighbours-steps input")
    steps.fill("2", timeout=SLOW)
    steps.press("Enter")
    user.settle()
    press(page, "start-neighbours")
    # Before that a comparison is in view that came along.
    expect(page.get_by_text("2 steps of 4 windows, 1 seed;")).to_be_visible(timeout=2 * SLOW)
    points = page.locator(".st-key-desk-neighbours-picture .points path.point")
    expect(points).to_have_count(2 * len(METHODS), timeout=SLOW)
    (kept,) = (user.server.data / "restorelcc" / "experiments").glob("*.json")
    assert [row["method"] for row in json.loads(kept.read_text())["results"]] == [*METHODS]
    page.reload()  # What is kept is there again.
    expect(points).to_have_count(2 * len(METHODS), timeout=SLOW)
    expect(page.locator(".st-key-delete-neighbours")).to_have_count(1)
    user.settle()
    press(page, "neighbours-open")
    page.locator(".st-key-neighbours-upload input").set_input_files(kept)
    # It is in view, and what is not kept cannot be deleted.
    expect(page.locator(".st-key-delete-neighbours")).to_have_count(0, timeout=SLOW)
    expect(points).to_have_count(2 * len(METHODS), timeout=SLOW)
