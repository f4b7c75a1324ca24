"""Looking closer, as a person does it: the text that was hit and text of one's own; heads before and after."""

import pytest
from fixtures import browser, engine, people, server, user
from people import SLOW, User
from playwright.sync_api import Page, expect

from restorelcc.inspection.windows import windows
from restorelcc.progress import finish
from restorelcc.workspace import Workspace

__all__ = ["browser", "engine", "people", "server", "user"]  # fixtures that pytest finds by name

pytestmark = pytest.mark.browser


def look(user: User, title: str, button: str) -> Page:
    """Take a closer look and have it computed."""
    page = user.page
    page.locator(".st-key-look-closer button", has_text=title).click()
    user.settle()
    page.locator(f".st-key-{button} button").click()
    return page


def tick_row(page: Page, table: str, row: int) -> None:
    """The box before a row of a table, which is drawn on a canvas."""
    canvas = page.locator(f".st-key-{table} canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 18, box["y"] + 36 + 35 * row + 17)


def test_heads_before_and_after_stand_side_by_side_and_in_step(user: User) -> None:
    """With the picks in place: two maps of one scale; a click on either looks at the head in both."""
    user.page.goto(f"{user.server.url}/?picks=all")
    user.page.locator(".st-key-head-map .js-plotly-plot").wait_for(timeout=3 * SLOW)  # the server's first pair
    page = look(user, "Before and after", "look-after")
    for side in ("before", "after"):
        page.locator(f".st-key-map-{side} .js-plotly-plot").wait_for(timeout=SLOW)
    user.settle()
    scales = page.evaluate(
        "['before', 'after'].map(side => document.querySelector(`.st-key-map-${side} .js-plotly-plot`).data[0].zmax)"
    )
    assert scales[0] == scales[1]
    point = page.locator(".st-key-map-after .points path.point").nth(8 * 3 + 1)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    page.wait_for_timeout(250)
    page.mouse.click(x, y)
    expect(page.get_by_text("Layer 3, head 1")).to_be_visible(timeout=SLOW)
    user.settle()
    outlines = page.evaluate(
        "['before', 'after'].map(side => document.querySelector(`.st-key-map-${side} .js-plotly-plot`)"
        ".layout.shapes.map(shape => [shape.x0, shape.y0]))"
    )
    assert outlines[0] == outlines[1]
    assert len(outlines[0]) == 1
    user.open("components?picks=all&head=3.1")
    expect(page.locator(".st-key-still-lost .js-plotly-plot")).to_be_visible(timeout=SLOW)


def test_the_text_that_was_hit_is_read_with_a_head_and_so_is_ones_own(user: User, engine: Workspace) -> None:
    """The window that lost most is at the top; ticked, it is read around the token that lost most."""
    user.open("")
    page = look(user, "The text that was hit", "look-hit")
    page.locator(".st-key-hit-table canvas").first.wait_for(timeout=SLOW)
    user.settle()
    worst = finish(windows(engine.pair(), engine.findings.calibration)).iloc[0]
    tick_row(page, "hit-table", 0)
    text = page.locator("[data-head]")
    text.wait_for(timeout=SLOW)
    user.settle()
    expect(page.locator(".st-key-passage-text input")).to_have_value(str(int(worst["window"])))
    first = max(0, int(worst["position"]) - 32)
    assert abs(int(page.locator(".st-key-passage-start input").input_value()) - first) <= 64
    page.locator(".st-key-passage-source button", has_text="Text of my own").click()
    page.locator(".st-key-passage-own textarea").fill("Once upon a time there was a red submarine.")
    page.locator(".st-key-passage-own textarea").press("Control+Enter")
    expect(text).to_contain_text("submarine", timeout=SLOW)
    expect(page.locator(".st-key-attention-pruned .js-plotly-plot")).to_be_visible(timeout=SLOW)
