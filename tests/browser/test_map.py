"""The Heads page as somebody uses it: its addresses, the map and the panel beside it, the scatter, own scores."""

import re

import pytest
from fixtures import browser, people, server, user
from people import SLOW, User
from playwright.sync_api import expect

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
