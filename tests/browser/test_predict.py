"""What a person is told before it is measured, and what they take away."""

import re
from pathlib import Path
from zipfile import ZipFile

import pandas as pd
import pytest
from fixtures import browser, engine, people, run, server, user
from people import SLOW, User
from playwright.sync_api import Browser, Locator, Page, expect
from safetensors.torch import load_file

from restorelcc.artifacts.card import evaluating, usage
from restorelcc.artifacts.export import load_adapter
from restorelcc.artifacts.runs import list_runs

__all__ = ["browser", "engine", "people", "run", "server", "user"]  # fixtures that pytest finds by name

pytestmark = pytest.mark.browser


@pytest.fixture(autouse=True)
def opened(user: User) -> None:
    """The embedded pair, pruned and read first by a server with nothing in its cache."""
    user.page.goto(f"{user.server.url}/pair")
    user.page.locator(".studio-header").wait_for(timeout=SLOW)


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


def downloaded(page: Page, button: Locator, place: Path) -> Path:
    """The file that a press of this brings; unpacked where it is an archive."""
    with page.expect_download(timeout=SLOW) as came:
        button.click()
    file = place / came.value.suggested_filename
    came.value.save_as(file)
    if file.suffix != ".zip":
        return file
    with ZipFile(file) as archive:
        archive.extractall(place)
    return place / file.stem


def test_a_restoration_leaves_as_one_file_with_the_lines_that_use_it(user: User, run: str, tmp_path: Path) -> None:
    """As an adapter and as a checkpoint; what is said beside them, and on their cards, measures them again."""
    page = user.open(run, ".st-key-next-steps")
    kept = next(one for one in list_runs(user.server.data / "restorelcc" / "runs") if one.folder.name in run)
    adapter = downloaded(page, page.locator(".st-key-adapter-result button").first, tmp_path)
    trained = kept.adapter().compensation.tensors()
    assert {name: values.tolist() for name, values in load_adapter(adapter).compensation.tensors().items()} == {
        name: values.tolist() for name, values in trained.items()
    }
    page.locator(".st-key-checkpoint-result button").first.click()
    page.locator(".st-key-begin-pack-result button").first.click()
    checkpoint = page.get_by_role("link", name=re.compile("^Download .*-checkpoint.zip"))
    checkpoint.wait_for(timeout=SLOW)
    checkpoint = downloaded(page, checkpoint, tmp_path)
    assert "model.layers.2.self_attn.o_proj.bias" in load_file(checkpoint / "model.safetensors")
    page.keyboard.press("Escape")
    page.locator(".st-key-use-result button").first.click()
    for kind, folder in (("adapter", adapter), ("checkpoint", checkpoint)):
        lines = evaluating(kind, kept.config)
        assert len(lines) == 2  # the text it was judged on, and one elsewhere
        for line in (usage(kind, kept.config).splitlines()[-1], *lines):
            expect(page.locator("[data-testid=stCode]", has_text=line).first).to_be_visible()
            assert line in (folder / "README.md").read_text()


def test_points_of_a_sweep_are_runs_that_are_found_noted_and_taken_away(user: User, tmp_path: Path) -> None:
    """Two points by the form, in parallel coordinates and a table; on Compare by their tag, all as CSV; one of them
    starred, tagged and noted, and found by that."""
    page = user.open("restore?picks=all", wait=".st-key-start-restoration button:enabled")
    page.locator(".st-key-setting-steps input").fill("1")
    page.locator(".st-key-setting-steps input").press("Enter")
    user.settle()
    page.get_by_text("Sweep: many settings, one after the other").click()
    for name, less in (("components", 1), ("lr", 2)):
        for _ in range(less):
            page.locator(f".st-key-sweep-{name} input").press("Backspace")
            user.settle()
    page.locator(".st-key-start-sweep button", has_text="Start sweep of 2").click()
    page.locator(".st-key-sweep-parallel .js-plotly-plot").wait_for(timeout=2 * SLOW)
    expect(page.get_by_role("region", name="Table of all points of the sweep")).to_be_visible()
    expect(page.get_by_text("2 points are kept as runs, under one tag.")).to_be_visible()
    page.get_by_role("link", name="Compare them").click()
    page.locator(".st-key-filter-tags input").click(timeout=SLOW)
    page.get_by_role("option", name=re.compile("^sweep of")).first.click()
    page.keyboard.press("Escape")
    user.settle()
    table = pd.read_csv(downloaded(page, page.locator(".st-key-runs-csv button").first, tmp_path))
    assert sorted(table["heads"]) == [16, 64]
    assert set(table["steps"]) == {1}
    page.locator(".st-key-annotate-run button").first.click()
    page.locator("[class*=st-key-star-]").get_by_text("Star", exact=True).click()
    user.settle()
    expect(page.get_by_role("switch", name="Star", exact=True)).to_be_checked()
    for field, typed in (("Tags, parted by commas", ", keep"), ("Note", "for Monday")):
        box = page.get_by_role("textbox", name=field, exact=True)
        box.fill(box.input_value() + typed)
        page.keyboard.press("Tab")
        user.settle()
    page.locator(".st-key-annotate-now button").click()
    expect(page.get_by_text("Noted.")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator(".st-key-filter-star").get_by_text("Starred").click()
    user.settle()
    words = page.locator(".st-key-filter-words input")
    words.fill("monday")
    words.press("Enter")
    expect(page.get_by_text(re.compile(r"^1 of \d+ runs are listed"))).to_be_visible(timeout=SLOW)
    (row,) = pd.read_csv(downloaded(page, page.locator(".st-key-runs-csv button").first, tmp_path)).to_dict("records")
    assert row["note"] == "for Monday"
    assert row["tags"].startswith("sweep of ")
    assert row["tags"].endswith(", keep")


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
