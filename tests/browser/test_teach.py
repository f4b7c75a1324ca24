"""Learn as a class meets it: there at once, every state in the link, terms that explain themselves, a screen a step."""

import re

import pytest
from fixtures import browser, engine, people, server, user
from people import DESKTOP, SLOW, Server, User
from playwright.sync_api import Browser, Page, expect

from app.views.learn import known_lessons
from app.work import lessons
from restorelcc.workspace import Workspace

__all__ = ["browser", "engine", "people", "server", "user"]  # fixtures that pytest finds by name

pytestmark = pytest.mark.browser

ROOM = {"width": 1920, "height": 1080}


def slide(page: Page, key: str, steps: int) -> None:
    """A slider by the keyboard."""
    handle = page.locator(f".st-key-{key} [role=slider], .st-key-{key} input[type=range]").first
    handle.focus()
    for _ in range(abs(steps)):
        page.keyboard.press("ArrowRight" if steps > 0 else "ArrowLeft")


def test_a_lesson_is_there_at_once_and_its_link_shows_the_same(
    user: User, people: list[User], browser: Browser, server: Server
) -> None:
    page = user.page
    page.goto(f"{server.url}/learn")
    # Whatever the pair's opening or the queue does: text, then figures, all seven steps of them.
    for key in ("learn-damage", "learn-arrows", "learn-injections", "learn-lessons", "learn-folding", "learn-weights"):
        page.locator(f".st-key-{key} .js-plotly-plot").wait_for(timeout=SLOW)
    user.settle()
    pruned = page.locator(".continued[data-model=pruned]")
    before = pruned.inner_text()
    assert "Tom was afraid of the dark" in before
    slide(page, "learn-sparsity", 1)
    expect(pruned).to_contain_text("Pruned, 70 %")
    assert pruned.inner_text() != before
    slide(page, "learn-count", 6)
    expect(page.get_by_text("nearer to the dense model’s distribution by").first).to_be_visible()
    page.locator(".st-key-learn-where button", has_text="Letters").click()
    expect(page).to_have_url(re.compile("where"))
    term = page.locator(".term[data-term=Perplexity]").first
    expect(term.locator("[role=tooltip]")).to_be_hidden()
    term.focus()
    expect(term.locator("[role=tooltip]")).to_be_visible()
    page.locator(".st-key-learn-contents a", has_text="Beyond the constant").click()
    expect(page.get_by_role("heading", name="7. Beyond the constant")).to_be_in_viewport()
    user.settle()
    other = User(browser, server, DESKTOP)
    people.append(other)
    there = other.open(page.url.rpartition("/")[2], ".st-key-learn-weights .js-plotly-plot")
    for text in (
        pruned.inner_text(),
        "nearer to the dense model’s distribution by",
        "Nothing here was trained on such",
    ):
        expect(there.locator("[data-testid=stMain]")).to_contain_text(text.splitlines()[-1])


def test_one_step_fills_the_screen_of_a_room_and_arrow_keys_turn_it(
    people: list[User], browser: Browser, server: Server
) -> None:
    people.append(User(browser, server, ROOM))
    page = people[-1].open("learn", ".st-key-learn-damage .js-plotly-plot")
    letters = "getComputedStyle(document.querySelector('[data-testid=stMarkdownContainer] p')).fontSize"
    small = float(page.evaluate(letters).removesuffix("px"))
    page.locator(".st-key-learn-present button").first.click()
    for number, (title, _) in enumerate(
        [("Pruning changes", 0), ("The difference", 0), ("The loss has", 0), ("What can be", 0), ("Train the", 0)], 1
    ):
        heading = page.get_by_role("heading", name=f"{number}. {title}")
        expect(heading).to_be_in_viewport()
        people[-1].settle()
        assert page.locator("h4").count() == 1
        page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name="6. A constant")).to_be_in_viewport()
    expect(page).to_have_url(re.compile("learn=step%3A6|learn=step:6"))
    assert float(page.evaluate(letters).removesuffix("px")) > 1.25 * small
    people[-1].settle()
    page.locator(".st-key-learn-read button").click()
    expect(page.get_by_role("heading", name="1. Pruning changes")).to_be_visible()


def test_what_is_shown_at_once_is_what_the_engine_finds(engine: Workspace) -> None:
    own, known = lessons.facts(engine), known_lessons.facts()
    assert own.shape == known.shape
    assert own.parameters == known.parameters
    assert own.pruned_name == known.pruned_name
    for name in ("relative_error", "constant_share"):
        assert float((getattr(own, name) - getattr(known, name)).abs().max()) < 0.02, name
    assert lessons.damage(engine).lost.nats == pytest.approx(known_lessons.damage("60 %").lost.nats, rel=0.05)
