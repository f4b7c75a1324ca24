"""The app for those who use no mouse, or see less: what axe-core finds, the keyboard, contrast, the browser's Back."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from fixtures import browser, people, run, server, user
from people import DESKTOP, SLOW, Server, User
from playwright.sync_api import Browser, Page, expect

__all__ = ["browser", "people", "run", "server", "user"]  # fixtures that pytest finds by name

pytestmark = pytest.mark.browser

VIEWS = {
    "pair": ".st-key-sparsity .js-plotly-plot",
    "?head=2.3&picks=2.3_0": ".st-key-head-map .js-plotly-plot",
    "components?head=2.3&picks=2.3_0": ".st-key-plane .js-plotly-plot",
    "restore?picks=2.3_0": ".st-key-norms .js-plotly-plot",
    "compare": ".st-key-compare-tokens .js-plotly-plot",
    "learn": ".st-key-learn-weights .js-plotly-plot",
}
"""Every page with all that it shows, and what is drawn last."""
AXES = ".js-plotly-plot :is(.xtick, .ytick) text, .js-plotly-plot :is(.xtitle, .ytitle)"
STREAMLITS_OWN: dict[str, str] = {}
"""What Streamlit's own widgets do wrong and no page can mend: by `rule`, how the element that it is found in begins."""


def findings(page: Page) -> list[str]:
    """Serious and critical findings of axe-core on the page as it stands."""
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:160]} {node['failureSummary']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
        if not node["html"].startswith(STREAMLITS_OWN.get(rule["id"], "\0"))
    ]


def background(page: Page) -> str:
    """Of the page, as the browser computes it."""
    return str(page.locator("[data-testid=stApp]").evaluate("e => getComputedStyle(e).backgroundColor"))


def contrast(page: Page, selector: str) -> float:
    """The least contrast of these texts of charts with the page's background, by WCAG's formula."""
    script = """q => {
      const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const paper = light(getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor);
      return [...document.querySelectorAll(q)].map(text => {
        const [low, high] = [paper, light(getComputedStyle(text).fill)].sort((a, b) => a - b);
        return (high + 0.05) / (low + 0.05);
      });
    }"""
    ratios: list[float] = page.evaluate(script, selector)
    assert ratios
    return min(ratios)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(
    people: list[User], browser: Browser, server: Server, run: str, scheme: str
) -> None:
    people.append(User(browser, server, DESKTOP, scheme))
    page, found = people[-1].page, list[str]()
    for path, last in VIEWS.items():
        people[-1].open(run if path.startswith("restore") else path, last)
        found += [f"{path}: {finding}" for finding in findings(page)]
        assert page.locator("h1").count() == 1, path
        assert contrast(page, AXES) >= 4.5, path
    assert found == [], "\n".join(found)


def test_back_is_one_press_a_page_and_the_theme_goes_along(user: User) -> None:
    page = user.open("?head=2.3&picks=2.3_0")
    light = background(page)
    page.locator(".st-key-theme button").click()
    expect(page.locator("[data-testid=stApp]")).not_to_have_css("background-color", light)
    user.settle()
    assert "theme=dark" in page.url
    for name, last in (("Components", ".st-key-scree"), ("Learn", ".st-key-learn-sparsity")):
        page.get_by_role("link", name=name).first.click()
        page.locator(last).wait_for(timeout=SLOW)
        user.settle()
        expect(page).to_have_url(re.compile(f"{name.lower()}.*theme=dark"))
    for address in ("/components?", "/?"):
        page.go_back()
        expect(page).to_have_url(re.compile(re.escape(user.server.url + address)))
        user.settle()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator("[data-copy-link]").click()
    expect(page.locator("[data-copy-link]")).to_have_text("Copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url
    page.goto("about:blank")
    page.goto(link)  # a new session, which knows the link alone
    page.locator(".js-plotly-plot").first.wait_for(timeout=SLOW)
    user.settle()
    assert background(page) != light


def test_heads_are_reached_and_named_without_a_mouse(user: User) -> None:
    page = user.open("", ".st-key-head-map .js-plotly-plot")
    page.locator(".st-key-look-at-first button").focus()
    page.keyboard.press("Enter")
    layer = page.get_by_role("spinbutton", name="Layer")
    layer.wait_for(timeout=SLOW)
    user.settle()
    layer.fill("3")
    layer.press("Enter")
    expect(page.get_by_role("heading", name=re.compile("Layer 3, head"))).to_be_visible()
    user.settle()
    page.get_by_role("link", name="Components").first.click()
    page.locator(".st-key-scree .js-plotly-plot").wait_for(timeout=SLOW)
    user.settle()
    page.locator("[data-testid=stTopNavLink]").first.focus()
    page.keyboard.press("Tab")
    focused = page.locator("[data-testid=stTopNavLink]:focus-visible")
    expect(focused).to_have_css("outline-style", "solid")
    layer.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=re.compile("Components of L4 H"))).to_be_visible()


def test_what_is_typed_about_a_pair_survives_a_reload(user: User) -> None:
    page = user.open("pair", ".st-key-sparsity")
    page.get_by_text("A dense and a pruned model").click()
    user.settle()
    page.locator(".st-key-pair-dense input").fill("/models/some dense one")
    page.locator(".st-key-pair-dense input").press("Enter")
    user.settle()
    page.reload()
    page.locator(".st-key-pair-dense input").wait_for(timeout=SLOW)
    expect(page.locator(".st-key-pair-dense input")).to_have_value("/models/some dense one")
