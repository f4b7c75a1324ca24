"""What a person is told before it is measured, and what they take away."""

import re
from pathlib import Path
from zipfile import ZipFile

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
