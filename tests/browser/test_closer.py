"""Looking closer, as a person does it: the text that was hit and text of one's own; heads before and after, with picks
and with a run in place, and in two pairs."""

import re
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from fixtures import browser, engine, people, run, server, user
from people import SLOW, User
from playwright.sync_api import Page, expect

from app.session.cache import passage_ids
from app.values.passages import Passage
from restorelcc.capture.passage import lost_along
from restorelcc.inspection.windows import windows
from restorelcc.progress import finish
from restorelcc.workspace import Workspace

__all__ = ["browser", "engine", "people", "run", "server", "user"]  # fixtures that pytest finds by name

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


def drawn(page: Page, maps: tuple[str, ...], what: str) -> list[object]:
    """The same of several maps, such as `data[0].zmax`."""
    for name in maps:
        page.locator(f".st-key-map-{name} .js-plotly-plot").wait_for(timeout=SLOW)
    script = f"maps => maps.map(map => document.querySelector(`.st-key-map-${{map}} .js-plotly-plot`).{what})"
    values: list[object] = page.evaluate(script, list(maps))
    return values


def hover(page: Page, name: str, layer: int, head: int) -> tuple[float, float]:
    """Rest the mouse on a cell, and where that is."""
    point = page.locator(f".st-key-map-{name} .points path.point").nth(8 * layer + head)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    page.wait_for_timeout(250)
    return x, y


def click_in_step(user: User, clicked: str, maps: tuple[str, ...], layer: int, head: int) -> None:
    """A click on one map looks at the head in all of them."""
    user.page.mouse.click(*hover(user.page, clicked, layer, head))
    expect(user.page.get_by_text(f"Layer {layer}, head {head}")).to_be_visible(timeout=SLOW)
    user.settle()
    outlines = drawn(user.page, maps, "layout.shapes.map(shape => [shape.x0, shape.y0])")
    assert outlines == [[[head - 0.48, layer - 0.48]]] * len(maps)


def test_heads_before_and_after_stand_side_by_side_and_in_step(user: User) -> None:
    """With the picks in place: two maps of one scale; a click on either looks at the head in both."""
    user.page.goto(f"{user.server.url}/?picks=all")
    user.page.locator(".st-key-head-map .js-plotly-plot").wait_for(timeout=SLOW)  # the server's first pair
    page, sides = look(user, "Before and after", "look-after"), ("before", "after")
    scales = drawn(page, sides, "data[0].zmax")
    user.settle()
    assert scales[0] == scales[1]
    click_in_step(user, "after", sides, 3, 1)
    user.open("components?picks=all&head=3.1")
    expect(page.locator(".st-key-still-lost .js-plotly-plot")).to_be_visible(timeout=SLOW)


def test_what_a_run_trained_stands_in_place_on_heads_and_components(user: User, run: str) -> None:
    """By its link: every head below what is put back, and beside it, loses to the last digit what it lost; the head
    itself does not, nor do the layers above. Of its components is left as much as is said."""
    view, sides = run.partition("?")[2], ("before", "after")
    page = user.open(f"?{view}&look=after")
    page.locator(".st-key-look-after button").click()
    before, after = drawn(page, sides, "_fullData[0].z.map(row => [...row])")
    scales = drawn(page, sides, "data[0].zmax")
    assert scales[0] == scales[1]
    assert isinstance(before, list)
    assert isinstance(after, list)
    assert after[:2] == before[:2]
    changed = [head for head in range(8) if after[2][head] != before[2][head]]
    assert changed == [3]
    assert all(now != was for now, was in zip(after[3:], before[3:], strict=True))
    click_in_step(user, "before", sides, 2, 3)
    page.get_by_role("link", name="Components").first.click()
    chart = page.locator(".st-key-still-lost .js-plotly-plot")
    chart.wait_for(timeout=SLOW)
    user.settle()
    lost, left = chart.evaluate("chart => chart._fullData.map(bars => [...bars.y].reduce((sum, bar) => sum + bar))")
    name = parse_qs(urlsplit(page.url).query)["run"][0]
    expect(page.locator(".st-key-in-place-component input")).to_have_value(re.compile("^Run "))
    assert name in run
    assert left != lost
    expect(page.get_by_text(f"{left / lost:.0%} of the squared lost activation of this head is left.")).to_be_visible()


def test_two_pairs_stand_side_by_side_and_in_step(user: User) -> None:
    """The same model pruned less, opened by its link: one scale, what lies between them, a click in step, both values
    where the mouse rests, and the head in both pairs on Components."""
    other = quote("dense=demo&prune=0.5&windows=4&captured=2")
    page, maps = user.open(f"?look=beside&beside={other}"), ("here", "beside", "difference")
    scales = drawn(page, maps, "data[0].zmax")
    assert scales[0] == scales[1] > scales[2]
    click_in_step(user, "beside", maps, 2, 5)
    hovered = page.locator(".st-key-map-beside .hovertext")
    hover(page, "beside", 2, 6)
    expect(hovered).to_contain_text("difference")
    expect(page.get_by_text("wanda 50 %, 4 windows, 2 captured loses less than wanda 60 %")).to_be_visible()
    page.get_by_role("link", name="Components").first.click()
    expect(page.locator(".st-key-component-beside .js-plotly-plot")).to_be_visible(timeout=SLOW)
    assert "head=2.5" in page.url
    assert f"beside={quote('dense=demo')}" in page.url


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
    user.settle()
    page.get_by_role("link", name="Components").first.click()
    along = page.locator("[data-component]")
    expect(along).to_contain_text("submarine", timeout=SLOW)
    own = "Then it rained, and the yellow duck was glad."
    page.locator(".st-key-passage-own textarea").fill(own)
    page.locator(".st-key-passage-own textarea").press("Control+Enter")
    expect(along).to_contain_text("duck", timeout=SLOW)
    user.settle()
    layer, head = map(int, parse_qs(urlsplit(page.url).query)["head"][0].split("."))
    ids = passage_ids(engine, Passage(source="own", own=own))
    lost = lost_along(engine.pair(), ids, layer, head, engine.lost.directions[layer, head, 0])
    says = [str(token.get_attribute("title")) for token in along.locator("span").all()]
    assert [float(said.removeprefix("δz·v ").replace("−", "-")) for said in says] == pytest.approx(
        lost.tolist(), abs=2e-3
    )
