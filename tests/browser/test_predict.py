"""What a person is told before it is measured, and what they take away."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from os.path import getsize
from pathlib import Path
from zipfile import ZipFile

import pandas as pd
import pytest
from fixtures import browser, people, run, server, user
from people import QUICK, SLOW, User
from playwright.sync_api import Browser, Locator, Page, expect
from safetensors.torch import load_file

from app.values import run_facts
from restorelcc.artifacts.card import evaluating, usage
from restorelcc.artifacts.export import load_adapter
from restorelcc.artifacts.runs import list_runs, load_run, rename_run
from restorelcc.progress import finish
from restorelcc.report.site import write_site
from restorelcc.workspace import open_workspace

__all__ = ["browser", "people", "run", "server", "user"]  # fixtures that pytest finds by name

pytestmark = pytest.mark.browser

MOST_BYTES = 8_000_000


@pytest.fixture(autouse=True)
def opened(user: User) -> None:
    """The embedded pair, pruned and read first by a server with nothing in its cache."""
    user.page.goto(f"{user.server.url}/pair?{QUICK}")
    user.page.locator(".studio-header").wait_for(timeout=SLOW)


def test_picks_are_answered_at_once_and_the_measurement_says_how_far_off(user: User) -> None:
    page = user.open(f"components?head=2.3&{QUICK}")
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
    page = user.open(f"restore?picks=all&{QUICK}", wait=".st-key-start-restoration button:enabled")
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


@contextmanager
def alone(browser: Browser, scheme: str = "light") -> Iterator[Page]:
    """A page without a network, on which nothing is complained of."""
    context = browser.new_context(offline=True, color_scheme=scheme)  # type: ignore[arg-type]
    said: list[str] = []
    page = context.new_page()
    page.on("console", lambda line: said.append(line.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    assert said == []
    context.close()


def drawn(page: Page) -> None:
    """Every figure of a report that is to be seen is there."""
    figures = page.locator(".plot:not([hidden])")
    assert figures.count() > 0
    for figure in figures.all():
        expect(figure.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=SLOW)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_report_opens_from_disk_without_a_network(user: User, browser: Browser, tmp_path: Path, scheme: str) -> None:
    page = user.open(f"pair?{QUICK}", ".st-key-report-pair")
    # The first: the other is there to be measured, unseen.
    file = downloaded(page, page.locator(".st-key-report-pair button").first, tmp_path)
    assert file.stat().st_size <= MOST_BYTES
    with alone(browser, scheme) as report:
        report.goto(file.as_uri())
        drawn(report)
        expect(report.locator("main")).to_contain_text("nats per token against dense")
        report.locator(".choice select").select_option("Output-weighted")
        expect(report.locator(".choice .plot:not([hidden])")).to_have_count(1)
        expect(report.locator(".choice .plot:not([hidden])")).to_contain_text("share of attention output")


def test_a_run_several_and_a_whole_pair_are_reported(user: User, run: str, browser: Browser, tmp_path: Path) -> None:
    """By their buttons, one file each, and the pair with its runs as a folder: all of it opens from disk."""
    kept = next(one for one in list_runs(user.server.data / "restorelcc" / "runs") if one.folder.name in run)
    twin = load_run(Path(shutil.copytree(kept.folder, kept.folder.with_name(f"{kept.folder.name}-twin"))))
    rename_run(twin, "its twin")
    page = user.open(f"compare?{run.partition('?')[2]}", ".st-key-report-runs")
    one = downloaded(page, page.locator(".st-key-report-run button").first, tmp_path)
    several = downloaded(page, page.locator(".st-key-report-runs button").first, tmp_path)
    recipe = run_facts.recipe_of(kept)
    assert recipe is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(user.server.cache))
        finish(write_site(tmp_path / "pair", finish(open_workspace(recipe)), [kept]))
    index = tmp_path / "pair" / "index.html"
    for size in (*(file.stat().st_size for file in (one, several)), sum(map(getsize, index.parent.iterdir()))):
        assert size <= MOST_BYTES
    restored = kept.config["figures"]["restored"]
    perplexity = f"{restored['perplexity']:.3f} ± {restored['stderr']:.3f}"
    with alone(browser) as report:
        report.goto(one.as_uri())
        drawn(report)
        said = report.locator("main")
        for part in (perplexity, *evaluating("adapter", kept.config), f"restorelcc repeat {kept.folder.name}"):
            expect(said).to_contain_text(part)
        report.goto(several.as_uri())
        drawn(report)
        for part in ("its twin", kept.name, perplexity):
            expect(said).to_contain_text(part)
        report.goto(index.as_uri())
        drawn(report)
        report.get_by_role("link", name="L2 H3").click()
        expect(report.get_by_role("heading", level=1)).to_have_text(re.compile("^Layer 2, head 3 of "))
        drawn(report)
        report.get_by_role("link", name="The whole pair").click()
        report.get_by_role("link", name=kept.name).click()
        expect(said).to_contain_text(perplexity)
        drawn(report)
    shutil.rmtree(twin.folder)  # Other tests count what is listed.
