"""The Heads page as somebody uses it: its addresses, the map and the panel beside it, the scatter, own scores."""

import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from fixtures import browser, people, server, user
from people import DESKTOP, SLOW, Server, User
from playwright.sync_api import Browser, expect

__all__ = ["browser", "people", "server", "user"]  # fixtures that pytest finds by name

pytestmark = pytest.mark.browser


def test_every_page_answers_to_its_name(user: User) -> None:
    for path, title in (("heads", "Heads"), ("", "Heads"), ("components", "Components")):
        page = user.open(f"{path}?head=2.6&picks=1.2", ".studio-header")
        expect(page.locator("[data-testid=stTopNavLink][aria-current=page]")).to_have_text(re.compile(title))
        assert page.get_by_text("Page not found").count() == 0
        user.settle()
        assert page.url.startswith(f"{user.server.url}/{path}?")
        assert "head=2.6" in page.url
        assert user.picked() == 32
    page.get_by_role("link", name="Heads").first.click()
    page.locator(".st-key-head-map").wait_for(timeout=SLOW)
    expect(page.get_by_role("heading", name="Layer 2, head 6")).to_be_visible()


def test_heads_on_two_measures_are_in_the_link(user: User) -> None:
    page = user.open("")
    expect(page.locator(".st-key-look-scatter button")).to_have_text(re.compile("Compute predicted, to dense"))
    for axis, measure in (("y", "Cosine distance"), ("colour", "Output-weighted")):
        # Typed: of a long list those in view alone are there to be clicked.
        page.locator(f".st-key-axis-{axis} input").click()
        page.locator(f".st-key-axis-{axis} input").fill(measure)
        page.get_by_role("option", name=measure, exact=True).click()
        user.settle()
    expect(page.get_by_text(re.compile(r"Rank correlation \+0\.\d\d over 64 heads")).last).to_be_visible()
    page.locator(".st-key-log-x label").click()
    user.settle()
    expect(page).to_have_url(re.compile("axes=relative_error(~|%7E)cosine_distance(~|%7E)output_weighted(~|%7E)x"))


def test_own_scores_are_a_measure_of_this_session_alone(
    user: User, people: list[User], browser: Browser, server: Server, tmp_path: Path
) -> None:
    page = user.open("")
    rows = [(layer, head, (8 * layer + head) * 37 % 64) for layer in range(8) for head in range(8)]
    for name, extra in (("bad", [(9, 0, 1)]), ("my luck", [])):
        lines = ["layer,head,value", *(",".join(map(str, row)) for row in [*rows, *extra])]
        (tmp_path / f"{name}.csv").write_text("\n".join(lines))
    page.locator(".st-key-own-scores button").first.click()
    upload = page.locator(".st-key-own-file input[type=file]")
    upload.set_input_files(tmp_path / "bad.csv")
    expect(page.locator("[data-testid=stAlert]", has_text="row 65: there is no head 9.0").first).to_be_visible()
    upload.set_input_files(tmp_path / "my luck.csv")
    expect(page.get_by_role("heading", name="my luck of every head")).to_be_visible()
    page.keyboard.press("Escape")
    user.settle()
    assert page.locator("[data-testid=stAlert]", has_text="there is no head").count() == 0
    assert "luck" not in page.url
    page.locator(".st-key-pick-first button").first.click()
    first = sorted(rows, key=lambda row: -row[2])[:8]
    user.settle()
    expect(page).to_have_url(re.compile("picks="))
    picks = {tuple(map(int, head.split("."))) for head in dict(parse_qsl(urlsplit(page.url).query))["picks"].split("~")}
    assert picks == {row[:2] for row in first}

    other = User(browser, server, DESKTOP)
    people.append(other)
    other.page.goto(page.url)
    expect(other.page.get_by_role("heading", name="Relative error of every head")).to_be_visible(timeout=SLOW)
    assert other.page.get_by_text("my luck").count() == 0
