"""Reports: what they say, that they need nothing else, and that no name in them is anything but a name."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import torch
from commands import answer, call

from app.values.colours import DARK, LIGHT
from restorelcc.artifacts.runs import Run, load_run, rename_run, save_run
from restorelcc.compensation.constants import Constants
from restorelcc.evaluation.perplexity import perplexity
from restorelcc.hf.layout import HeadGeometry
from restorelcc.progress import finish
from restorelcc.report.build import of_pair, of_runs
from restorelcc.report.page import HERE, Page, figure
from restorelcc.report.site import write_site
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Restoration
from restorelcc.selection.picks import everything
from restorelcc.workspace import Workspace

EVIL = '</script><img src=x onerror="alert(1)"> & %{x} $a$'
FIGURES = {
    "dense": {"perplexity": 10.5, "stderr": 0.25, "tokens": 900},
    "pruned": {"perplexity": 12.5, "stderr": 0.25, "tokens": 900},
    "restored": {"perplexity": 11.5, "stderr": 0.5, "tokens": 900},
    "kl": {"pruned": {"nats": 0.2, "stderr": 0.01}, "restored": {"nats": 0.1, "stderr": 0.01}},
    "recovered_share": 0.234,
    "share_stderr": 0.04,
    "nearer": 0.5,
    "nearer_stderr": 0.02,
}


class Elements(HTMLParser):
    """Counts of tags, and whatever an element would fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "srcset", "onerror")]


def run(tmp_path: Path, name: str, **about: object) -> Run:
    shape = HeadGeometry(n_layers=2, n_heads=2, n_kv_heads=2, d_head=4, d_model=8)
    vectors = torch.randn(2, 2, 4, generator=torch.Generator().manual_seed(0))
    restoration = Restoration(Constants(vectors), {}, 32, everything((2, 2, 4)), Settings(), (), 0)
    facts = {"dense": "a", "pruned": "/home/somebody/b", "evaluation": "the evaluation text, /home/somebody/c.txt"}
    return save_run(restoration, shape, name, facts | {"figures": FIGURES} | about, tmp_path / "runs")


def test_a_pair_is_told_with_its_errors_its_text_and_how_to_repeat_it(workspace: Workspace):
    page = of_pair(workspace).html()
    assert len(page.encode()) < 8_000_000
    found = workspace.findings
    for loss in (found.live_dense, found.live_pruned):
        judged = perplexity(loss)
        assert f"{judged.value:.3f} ± {judged.stderr:.3f}" in page
    assert f"{found.live.count:,} tokens of" in page
    assert "python -m restorelcc report --dense" in page
    assert Elements(page).fetched == []
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page


def test_no_recovered_without_nearer_and_no_path_of_anybodys(tmp_path: Path):
    for page in (of_runs([run(tmp_path, "mine")]), of_runs([run(tmp_path, "one"), run(tmp_path, "two")])):
        text = "\n".join(page.parts)
        assert "23.4% ± 4.0%" in text
        assert "50.0% ± 2.0%" in text
        assert "11.500 ± 0.500" in text
        assert "somebody" not in text
        assert "c.txt" in text


def test_names_are_names(tmp_path: Path, workspace: Workspace):
    kept = rename_run(run(tmp_path, "plain", notes=[EVIL]), EVIL)
    odd = replace(workspace.findings, pruned_name=EVIL, notes=(EVIL,))
    monkeyed = Workspace(workspace.recipe, odd, workspace.pair())
    plain = Elements(of_runs([run(tmp_path, "plain")]).html()).tags
    assert Elements(of_runs([kept]).html()).tags == plain
    for page in (of_runs([kept, run(tmp_path, "other")]), of_pair(monkeyed)):
        html = page.html()
        assert "<img" not in "\n".join(page.parts)
        assert "img" not in Elements(html).tags
        assert Elements(html).fetched == []


def test_a_damaged_run_is_reported_as_far_as_it_goes(tmp_path: Path):
    broken = run(tmp_path, "broken")
    (broken.folder / "metrics.jsonl").write_text("no numbers")
    page = "\n".join(of_runs([load_run(broken.folder)]).parts)
    assert "is damaged" in page
    assert "11.500" in page


def test_a_folder_has_a_page_a_head_and_the_tables(tmp_path: Path, workspace: Workspace):
    kept = run(tmp_path, "mine")
    finish(write_site(tmp_path / "site", workspace, [kept]))
    layers, heads, _ = workspace.lost.shape
    names = {path.name for path in (tmp_path / "site").iterdir()}
    assert len([name for name in names if name.startswith("head-")]) == layers * heads
    assert {"index.html", "plotly.min.js", "heads.csv", "components.csv", f"run-{kept.folder.name}.html"} <= names
    for page in (tmp_path / "site").glob("*.html"):
        assert Elements(page.read_text()).fetched == ["plotly.min.js"]
        links = re.findall(r'href="([^"#:]+)"', page.read_text())
        assert set(links) <= names


def test_the_command_writes_a_file_or_a_folder_and_refuses_both(folders, text, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    pair = ["--dense", folders[0], "--pruned", folders[1], "--calibration", text, "--length", 16, "--windows", 4]
    pair += ["--text", "everyday"]
    found = answer("report", *pair, "--out", tmp_path / "pair.html")
    assert found["out"] == str(tmp_path / "pair.html")
    assert "What every head lost" in (tmp_path / "pair.html").read_text()
    for wrong in ([*pair], [*pair, "--out", tmp_path / "x.html", "--folder", tmp_path / "x"],
                  ["--run", "nobody", "--out", tmp_path / "x.html"],
                  ["--dense", folders[0], "--out", tmp_path / "x.html"]):  # fmt: skip
        assert call("report", *wrong).exit_code == 2


def test_figures_are_data_that_no_page_mistakes_for_a_script():
    drawn = figure({"data": [{"name": EVIL}], "layout": {}}, EVIL)
    assert drawn.count("<script") == drawn.count("</script>") == 1
    assert Page("x", (drawn,)).html("plotly.min.js").count("</script>") == 3


def test_colours_are_those_of_the_app():
    script = (HERE / "page.js").read_text()
    for theme in (LIGHT, DARK):
        for colour in (theme.dense, theme.pruned, theme.restored, theme.text, theme.grid, *theme.loss, *theme.signed):
            assert colour in script
