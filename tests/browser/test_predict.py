"""What a person is told before it is measured, and what they take away."""

import re
from pathlib import Path

import pytest
from fixtures import browser, engine, people, server, user
from people import SLOW, User
from playwright.sync_api import Browser, expect

__all__ = ["browser", "engine", "people", "server", "user"]  # fixtures that pytest finds by name

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def opened(user: User) -> None:
    """The embedded pair, pruned and read first by a server with nothing in its cache."""
    user.page.goto(f"{user.server.url}/pair")
    user.page.locator(".studio-header").wait_for(timeout=5 * SLOW)


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
    page.expose_function("shown", lambda what: shown.append(what))
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_opens_from_disk_without_a_network(user: User, browser: Browser, tmp_path: Path, scheme: str) -> None:
    page = user.open("pair", ".st-key-report-pair")
    with page.expect_download(timeout=SLOW) as came:
        page.locator(".st-key-report-pair button").first.click()  # the other is there to be measured, unseen
    file = tmp_path / "pair.html"
    came.value.save_as(file)
    assert file.stat().st_size <= 8_000_000
    alone = browser.new_context(offline=True, color_scheme=scheme)  # type: ignore[arg-type]
    said: list[str] = []
    report = alone.new_page()
    report.on("console", lambda line: said.append(line.text))
    report.on("pageerror", lambda error: said.append(str(error)))
    report.goto(file.as_uri())
    expect(report.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=SLOW)
    expect(report.locator("main")).to_contain_text("nats per token against dense")
    report.locator(".choice select").select_option("Output-weighted")
    expect(report.locator(".choice .plot:not([hidden])")).to_have_count(1)
    expect(report.locator(".choice .plot:not([hidden])")).to_contain_text("share of attention output")
    assert said == []
    alone.close()
