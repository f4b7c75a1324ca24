"""What a person does in the app, and that the numbers on the screen are the engine's."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures import browser, engine, own_server, people, user
from people import DESKTOP, PHONE, QUICK, SLOW, Server, User, cell, click_cell, start
from playwright.sync_api import Browser, expect

from restorelcc.artifacts.runs import list_runs
from restorelcc.compensation.constants import injected
from restorelcc.compensation.interface import compensated
from restorelcc.evaluation.perplexity import perplexity, token_loss
from restorelcc.selection.picks import Pick, Selection
from restorelcc.workspace import Workspace

__all__ = ["browser", "engine", "own_server", "people", "user"]  # fixtures that pytest finds by name

pytestmark = pytest.mark.browser

PAGES = ("pair", "", "components", "restore", "compare", "learn")


def measured(workspace: Workspace, picks: set[Pick]) -> float:
    """The engine's perplexity of the live set with these picks put back."""
    pair = workspace.pair()
    mask = Selection(workspace.lost.shape, frozenset(picks)).mask()
    with compensated(pair.pruned, injected(workspace.lost, mask)):
        return perplexity(token_loss(pair.pruned, workspace.findings.live)).value


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that no single element shows."""
    limit = time.monotonic() + SLOW / 1000
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.2)


def test_first_start_shows_the_map(server: Server, user: User) -> None:
    user.open("")
    expect(user.page.locator(".st-key-head-map .points path.point")).to_have_count(64)
    print(f"empty cache to the first heat map: {time.monotonic() - server.started:.1f} s")
    assert user.perplexity("dense") < user.perplexity("pruned") == user.perplexity("picked")


def test_every_page_is_drawn_by_what_the_server_itself_sent(user: User) -> None:
    """No page asks for anything that the server's policy forbids, and nothing is fetched from elsewhere."""
    forbidden: list[str] = []
    fetched: list[str] = []
    user.page.on("console", lambda line: forbidden.append(line.text) if "Content Security" in line.text else None)
    user.page.on("request", lambda request: fetched.append(request.url))
    for path in PAGES:
        user.open(f"{path}?picks=2.3_0", ".studio-header")
        user.page.mouse.wheel(0, 3_000)
        user.settle()
    assert forbidden == []
    assert {url for url in fetched if not url.startswith((user.server.url, "data:", "blob:"))} == set()


def test_a_click_on_a_cell_opens_the_panel_of_that_head(user: User) -> None:
    page = user.open("")
    click_cell(page, 3, 6)
    expect(page.get_by_role("heading", name="Layer 3, head 6")).to_be_visible()
    expect(page.locator(".tinted")).to_have_attribute("data-head", "L3 H6")
    user.settle()
    assert "head=3.6" in page.url


def test_a_box_picks_the_heads_in_it_and_undo_takes_them_back(user: User) -> None:
    page = user.open("")
    page.locator(".st-key-mouse button", has_text="Box").click()
    user.settle()
    (left, top), (right, bottom) = cell(page, 2, 1), cell(page, 3, 3)
    page.mouse.move(left - 8, top - 8)
    page.mouse.down()
    page.mouse.move(left + 20, top + 20, steps=4)
    page.mouse.move(right + 8, bottom + 8, steps=8)
    page.mouse.up()
    expect(page.locator(".studio-header")).to_contain_text("192 picked")  # 2 layers, 3 heads, 32 components
    page.locator(".st-key-undo button").click()
    expect(page.locator(".studio-header")).to_contain_text(re.compile(r"\b0 picked"))
    page.locator(".st-key-redo button").click()
    expect(page.locator(".studio-header")).to_contain_text("192 picked")


def test_a_ticked_component_moves_the_header_to_the_engines_number(user: User, engine: Workspace) -> None:
    page = user.open("components?head=1.2")
    before = user.perplexity()
    page.locator(".st-key-ticks button", has_text=re.compile("^0$")).click()
    expect(page.locator(".studio-header")).to_contain_text("1 picked")
    after = user.perplexity()
    assert after != before
    assert after == pytest.approx(measured(engine, {(1, 2, 0)}), rel=1e-5)
    page.locator(".st-key-clear button").click()
    expect(page.locator(".studio-header")).to_contain_text(re.compile(r"\b0 picked"))
    assert user.perplexity() == before


def test_two_people_at_once_see_their_own_numbers(
    people: list[User], browser: Browser, server: Server, engine: Workspace
) -> None:
    picks = ["1.2", "4.0~6.3"]
    people += [User(browser, server, DESKTOP) for _ in picks]
    for one, text in zip(people, picks, strict=True):
        one.page.goto(f"{server.url}/components?picks={text}")
    whole = range(engine.lost.shape[2])
    theirs = [{(1, 2, i) for i in whole}, {(4, 0, i) for i in whole} | {(6, 3, i) for i in whole}]
    for one, mine in zip(people, theirs, strict=True):
        one.page.locator(".js-plotly-plot").first.wait_for(timeout=SLOW)
        assert one.perplexity() == pytest.approx(measured(engine, mine), rel=1e-5)


def test_a_copied_link_shows_the_same_view(user: User, people: list[User], browser: Browser, server: Server) -> None:
    page = user.open("")
    page.locator(".st-key-metric button", has_text="Output-weighted").click()
    user.settle()
    click_cell(page, 5, 1)
    expect(page.get_by_role("heading", name="Layer 5, head 1")).to_be_visible()
    page.locator(".st-key-add-head button").click()
    expect(page.locator(".studio-header")).to_contain_text("32 picked")
    number = user.perplexity()
    user.settle()
    other = User(browser, server, DESKTOP)
    people.append(other)
    other.page.goto(page.url)
    expect(other.page.get_by_role("heading", name="Layer 5, head 1")).to_be_visible(timeout=SLOW)
    expect(other.page.get_by_role("heading", name="Output-weighted of every head")).to_be_visible()
    assert other.picked() == 32
    assert other.perplexity() == number


def test_a_restoration_is_watched_left_found_again_and_stopped(user: User, server: Server) -> None:
    page = user.open(f"restore?picks=all&{QUICK}", wait=".st-key-start-restoration button:enabled")
    page.locator(".st-key-run-name input").fill("watched")
    page.locator(".st-key-run-name input").press("Enter")
    user.settle()
    page.locator(".st-key-start-restoration button").click()
    page.locator(".st-key-live-loss .js-plotly-plot").wait_for(timeout=SLOW)

    def drawn() -> int:
        """Steps that the bar names."""
        found = re.search(r"step (\d+) of 200", page.locator(".stProgress").first.inner_text())
        return int(found[1]) if found else 0

    first = drawn()
    until(lambda: drawn() > first + 1)
    page.get_by_role("link", name="Heads").first.click()
    page.locator(".st-key-head-map").wait_for(timeout=SLOW)
    page.get_by_role("link", name="Restore").first.click()
    page.locator(".st-key-live-loss .js-plotly-plot").wait_for(timeout=SLOW)
    assert drawn() > first
    link = page.url
    page.reload()
    page.locator(".st-key-cancel-restoration button:enabled").click(timeout=SLOW)  # still the owner
    page.locator(".st-key-norms .js-plotly-plot").wait_for(timeout=SLOW)
    user.settle()
    run = next(run for run in list_runs(server.data / "restorelcc" / "runs") if run.name == "watched")
    assert run.config["stopped"] is True
    assert run.folder.name in page.url
    assert run.folder.name not in link
    metrics = run.metrics()
    assert len(metrics) >= 2
    assert metrics["held_out_loss"].min() == metrics.set_index("step")["held_out_loss"][run.config["best_step"]]


def test_only_the_owner_may_stop(user: User, people: list[User], browser: Browser, server: Server) -> None:
    page = user.open(f"restore?picks=1.2&{QUICK}", wait=".st-key-start-restoration button:enabled")
    page.locator(".st-key-start-restoration button").click()
    page.locator(".st-key-live-loss").wait_for(timeout=SLOW)
    user.settle()
    other = User(browser, server, DESKTOP)
    people.append(other)
    other.page.goto(page.url)
    other.page.locator(".st-key-live-loss").wait_for(timeout=SLOW)
    # `first`: a button that explains itself is drawn inside its tooltip's target.
    expect(other.page.locator(".st-key-cancel-restoration button").first).to_be_disabled()
    page.locator(".st-key-cancel-restoration button").first.click()
    page.locator(".st-key-norms").wait_for(timeout=SLOW)


def test_a_bad_path_is_a_message(user: User) -> None:
    page = user.open("pair")
    page.get_by_text("A dense model, pruned here").click()
    user.settle()
    page.locator(".st-key-pair-dense input").fill("/nowhere/at/all")
    page.locator(".st-key-pair-dense input").press("Enter")
    user.settle()
    page.locator(".st-key-open-pair button").click()
    expect(page.get_by_text("There is no folder /nowhere/at/all")).to_be_visible()
    assert page.locator(".st-key-head-map").count() == 0
    expect(page.locator(".studio-header")).to_be_visible()  # what was open stays open


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_has_no_horizontal_scroll(
    people: list[User], browser: Browser, server: Server, path: str, scheme: str
) -> None:
    people.append(User(browser, server, PHONE, scheme))
    page = people[-1].open(path, wait=".studio-header")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    main = "[...document.querySelectorAll('[data-testid=stMain]')].every(e => e.scrollWidth <= e.clientWidth)"
    assert page.evaluate(main)


def test_a_restarted_server_starts_from_its_cache_and_lists_the_runs(
    browser: Browser, server: Server, tmp_path: Path, people: list[User]
) -> None:
    with start(server.cache, server.data, tmp_path / "log") as again:
        someone = User(browser, again, DESKTOP)
        people.append(someone)
        someone.open("")
        print(f"warm cache to the first heat map: {time.monotonic() - again.started:.1f} s")
        someone.open("compare", wait=".studio-header")
        expect(someone.page.locator("[data-testid=stDataFrame]").first).to_be_visible()
        someone.page.goto("about:blank")
