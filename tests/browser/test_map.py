"""The Heads page as somebody uses it: its addresses, the map and the panel beside it, the scatter, own scores."""

import random
import re
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from conftest import WORDS, make_model, noisy
from fixtures import browser, people, server, user
from people import DESKTOP, SLOW, Server, User, click_at
from playwright.sync_api import Browser, Page, expect
from transformers import PreTrainedTokenizerFast

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


def loneliest(page: Page) -> tuple[int, float, float]:
    """Of the heads in the scatter the one that is furthest from its nearest neighbour: number, x, y on the screen."""
    script = """() => {
      const chart = document.querySelector('.st-key-head-scatter .js-plotly-plot');
      const trace = [...chart.querySelectorAll('.scatterlayer .trace')].pop();
      const points = [...trace.querySelectorAll('path.point')].map(point => point.getBoundingClientRect())
        .map(box => [box.x + box.width / 2, box.y + box.height / 2]);
      const gaps = points.map((p, i) => Math.min(...points.filter((_, j) => j !== i)
        .map(q => Math.hypot(p[0] - q[0], p[1] - q[1]))));
      const first = gaps.indexOf(Math.max(...gaps));
      return [first, ...points[first]];
    }"""
    page.locator(".st-key-head-scatter .scatterlayer path.point").nth(63).wait_for()
    page.locator(".st-key-head-scatter").scroll_into_view_if_needed()
    number, x, y = page.evaluate(script)
    return int(number), float(x), float(y)


def test_a_map_of_80_layers_of_64_heads_is_on_one_screen_and_its_cells_are_clicked(
    user: User, tmp_path: Path, tokenizer: PreTrainedTokenizerFast
) -> None:
    """Past a few thousand cells the graphics card draws what the mouse meets."""
    dense = make_model(num_hidden_layers=80, num_attention_heads=64, num_key_value_heads=64, head_dim=4, hidden_size=64)
    (tmp_path / "story.txt").write_text(" ".join(random.Random(0).choices(WORDS, k=600)))
    for name, model in (("dense", dense), ("pruned", noisy(dense))):
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    files = {"dense": "dense", "pruned": "pruned", "calibration": "story.txt", "evaluation": "story.txt"}
    pair = "&".join(f"{part}={quote(str(tmp_path / file))}" for part, file in files.items())
    page = user.open(f"?{pair}&length=32&windows=6&captured=2", ".st-key-head-map .js-plotly-plot")
    for layer, head in ((40, 11), (79, 63)):
        page.locator(".st-key-head-map").scroll_into_view_if_needed()
        left, top, right, bottom, x, y = page.evaluate(
            """([layer, head]) => {
              const chart = document.querySelector('.st-key-head-map .js-plotly-plot');
              const {xaxis, yaxis} = chart._fullLayout, {x, y} = chart.getBoundingClientRect();
              const at = (layer, head) => [x + xaxis._offset + xaxis.l2p(layer), y + yaxis._offset + yaxis.l2p(head)];
              return [...at(0, 0), ...at(79, 63), ...at(layer, head)];
            }""",
            [layer, head],
        )
        assert 0 <= left < right <= DESKTOP["width"]
        assert 0 <= top < bottom <= DESKTOP["height"]
        click_at(page, x, y)
        heading = page.get_by_role("heading", name=f"Layer {layer}, head {head}")
        expect(heading).to_be_in_viewport(timeout=SLOW)  # beside the map
        user.settle()


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
    number, x, y = loneliest(page)
    click_at(page, x, y)
    expect(page.get_by_role("heading", name=f"Layer {number // 8}, head {number % 8}")).to_be_visible()
    page.locator(".st-key-mouse button", has_text="Box").click()
    user.settle()
    _, x, y = loneliest(page)
    page.mouse.move(x - 5, y - 5)
    page.mouse.down()
    page.mouse.move(x + 2, y + 2, steps=3)
    page.mouse.move(x + 5, y + 5, steps=3)
    page.mouse.up()
    expect(page.locator(".studio-header")).to_contain_text("32 picked")  # one head of 32 components
    expect(page).to_have_url(re.compile(rf"picks={number // 8}\.{number % 8}(&|$)"))


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
