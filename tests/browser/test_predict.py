"""What a person is told before it is measured."""

import re

import pytest
from fixtures import browser, engine, people, server, user
from people import SLOW, User
from playwright.sync_api import expect

__all__ = ["browser", "engine", "people", "server", "user"]  # fixtures that pytest finds by name

pytestmark = pytest.mark.browser


def test_picks_are_answered_at_once_and_the_measurement_says_how_far_off(user: User) -> None:
    page = user.open("components?head=2.3")
    header = page.locator(".studio-header")
    # The pass that predictions come from is made once nothing else is to do; until then picks are measured alone.
    for component in range(200):
        page.locator(".st-key-ticks button", has_text=re.compile(f"^{component % 8}$")).click()
        user.perplexity()
        if header.locator(".foretold").count():
            break
    expect(header.locator(".foretold")).to_contain_text(re.compile(r"predicted [−+]0\.\d+, off by [−+]0\.\d+"))
    shown: list[str] = []
    page.expose_function("shown", shown.append)
    page.evaluate(
        "new MutationObserver(() => document.querySelectorAll('.number.picked b').forEach(b => window.shown("
        "b.dataset.predicted ? 'predicted' : b.dataset.value ? 'measured' : 'nothing')))"
        ".observe(document.body, {childList: true, subtree: true})"
    )
    page.locator(".st-key-ticks button", has_text=re.compile("^9$")).click()
    expect(header.locator(".number.picked b[data-value]")).to_be_visible(timeout=SLOW)
    user.settle()
    assert "nothing" not in shown
    assert shown.index("predicted") < len(shown) - 1 - shown[::-1].index("measured")
