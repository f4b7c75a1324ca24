"""Names and tokens that look like markup, as the browser draws them."""

import re
from collections.abc import Iterator

import pytest
from fixtures import browser, people, server, user
from markup import NASTY
from people import QUICK, READY, SLOW, User, start
from playwright.sync_api import Browser, Page, expect

from app.values.verbatim import visible

__all__ = ["browser", "people", "server", "user"]  # fixtures that pytest finds by name

pytestmark = pytest.mark.browser

NAME = "<b>x</b> $y$ **z** :red[q] &lt; www.a.example"
PARTS = "[data-testid=stMarkdownContainer], [data-testid=stCaptionContainer], [data-testid=stHtml] p"


@pytest.fixture(scope="module")
def drawn(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of `letters.py`."""
    folder = tmp_path_factory.mktemp("letters")
    with start(folder, folder, folder / "log", "tests/browser/letters.py") as running:
        someone = User(browser, running, {"width": 1440, "height": 30 * len(NASTY) + 400})
        someone.page.goto(running.url)
        someone.page.locator(".st-key-figure .annotation-text").last.wait_for(timeout=SLOW)
        someone.page.locator(READY).wait_for(timeout=SLOW)
        someone.page.wait_for_timeout(3000)  # Formulas and emoji are fetched when the first of them is drawn.
        yield someone.page
        someone.context.close()


def texts(page: Page, selector: str) -> list[str]:
    found: list[str] = page.evaluate("q => [...document.querySelectorAll(q)].map(e => e.textContent)", selector)
    return found


def test_every_element_shows_every_letter(drawn: Page) -> None:
    for number, text in enumerate(NASTY):
        box = f".st-key-text-{number}"
        shown = [part for part in texts(drawn, ", ".join(f"{box} {part}" for part in PARTS.split(", "))) if part]
        shown += drawn.locator(f"{box} [data-testid=stSelectbox] input").evaluate_all("es => es.map(e => e.value)")
        assert len(shown) >= 14, text
        # A message's lines are lines, of which no sign stands for the end.
        letters = {visible(text).strip(), "".join(visible(line.strip()) for line in text.splitlines())}
        for part in shown:
            assert part.replace("\n", "").endswith(tuple(letters)) or part in ("pills", "box"), text
        assert drawn.locator(f"{box} [data-testid=stMarkdownContainer] :is(a[href^=http], em, del, img)").count() == 0


@pytest.mark.parametrize(
    "selector", [".st-key-figure .ytick text", ".st-key-figure .annotation-text", ".st-key-legend .legendtext"]
)
def test_every_part_of_a_figure_shows_every_letter(drawn: Page, selector: str) -> None:
    assert texts(drawn, selector) == [visible(text) for text in NASTY]


def test_hovering_shows_every_letter(drawn: Page) -> None:
    drawn.locator(".st-key-figure").scroll_into_view_if_needed()
    points = drawn.locator(".st-key-figure .points path.point")
    boxes = points.evaluate_all("all => all.map(point => point.getBoundingClientRect().toJSON())")
    for box, text in zip(boxes, NASTY, strict=True):
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        drawn.mouse.move(x - 3, y)
        drawn.mouse.move(x, y)
        expect(drawn.locator(".st-key-figure .hovertext")).to_have_text(visible(text))


def enter(user: User, key: str, value: str) -> None:
    field = user.page.locator(f".st-key-{key} :is(input, textarea)")
    field.fill(value)
    field.press("ControlOrMeta+Enter" if field.evaluate("e => e.tagName") == "TEXTAREA" else "Enter")
    user.settle()


def test_a_run_and_a_component_are_called_what_they_are_called(user: User) -> None:
    page = user.open(f"components?head=1.2&picks=1.2_0&{QUICK}")
    enter(user, "component-name", NAME[:40])
    expect(page.locator(".st-key-ticks button", has_text=re.compile("^0 ")).first).to_have_text(f"0 {NAME[:40]}")
    page.get_by_role("link", name="Restore").first.click()
    page.locator(".st-key-start-restoration button:enabled").wait_for(timeout=SLOW)
    user.settle()
    enter(user, "setting-steps", "2")
    enter(user, "run-name", NAME)
    page.locator(".st-key-start-restoration button").click()
    page.locator(".st-key-norms .js-plotly-plot").wait_for(timeout=SLOW)
    user.settle()
    expect(page.get_by_role("heading", name=NAME, exact=True)).to_be_visible()
    expect(page.get_by_text(f"Named components: 1.2.0 {NAME[:40]}", exact=True)).to_be_visible()

    page.get_by_role("link", name="Compare").first.click()
    page.locator(".st-key-compare-tokens .js-plotly-plot").wait_for(timeout=SLOW)
    user.settle()
    assert NAME in texts(page, ".st-key-compare-curves .legendtext")
    assert NAME in texts(page, ".st-key-compare-sizes .legendtext")
    expect(page.locator(".st-key-run-in-view input")).to_have_value(re.compile(re.escape(NAME)))
    page.locator(".st-key-read-kind button", has_text="Text of my own").click()
    user.settle()
    enter(user, "read-own", NAME)
    expect(page.locator("#compare-tinted")).to_contain_text(NAME)
    words = texts(page, "[data-testid=stMarkdown] code")
    assert words
    assert all(word == "␣" or word in NAME for word in words)


def test_a_message_shows_what_was_typed(user: User) -> None:
    page = user.open("pair")
    page.get_by_text("A dense model, pruned here").click()
    user.settle()
    enter(user, "pair-dense", f"/nowhere/{NAME}")
    page.locator(".st-key-open-pair button").click()
    expect(page.locator("[data-testid=stAlert]", has_text=f"/nowhere/{NAME}").first).to_be_visible()
