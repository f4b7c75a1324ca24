"""What one text has in common with another is found wherever it begins, and nothing judges what it taught."""

import json
import random
from dataclasses import replace

import pytest
import torch
from commands import answer, call
from conftest import WORDS, make_tokens

from restorelcc.artifacts.findings import Recipe
from restorelcc.errors import TextError
from restorelcc.progress import finish
from restorelcc.text import overlap
from restorelcc.text.calibration import evaluation_apart, evaluation_tokens
from restorelcc.text.sources import same_text
from restorelcc.text.tokens import Tokens, whole
from restorelcc.workspace import open_workspace, second_text

LENGTH = 32


def words(seed: int, count: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=count))


def written(folder, name: str, *parts: str) -> str:
    (folder / name).write_text(" ".join(parts))
    return str(folder / name)


def cut(ids: torch.Tensor, length: int = LENGTH) -> Tokens:
    return whole(ids[: len(ids) // length * length].view(-1, length))


@pytest.fixture(scope="module")
def stream() -> torch.Tensor:
    return torch.randint(3, 30, (4_000,), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("offset", [0, 1, 7, 16, 31])
@pytest.mark.parametrize("length", [16, 32, 50])
def test_a_copy_is_found_wherever_its_windows_begin(stream, offset, length):
    first, second = cut(stream), cut(stream[offset:], length)
    assert overlap.share(second, [first]) > 0.99
    assert overlap.windows_of(second, [first]).all()
    assert overlap.share_sketched(second, overlap.sketch([first])) > 0.97


def test_the_share_is_what_was_planted(stream):
    fresh = torch.randint(3, 30, (4_000,), generator=torch.Generator().manual_seed(4))
    mixed = fresh.clone()
    mixed[1_000:1_400] = stream[217:617]
    assert overlap.share(cut(fresh), [cut(stream)]) == 0
    assert overlap.share(cut(mixed), [cut(stream)]) == pytest.approx(0.1, abs=0.005)
    marked = overlap.repeated(cut(mixed), [cut(stream)]).flatten()
    assert marked[1_000:1_400].all()
    assert int(marked.sum()) == pytest.approx(400, abs=4)  # a neighbour may agree by chance
    assert overlap.share_sketched(cut(mixed), overlap.sketch([cut(stream)])) == pytest.approx(0.1, abs=0.05)


def test_prompts_and_answers_are_known_in_any_order():
    rows = make_tokens(20, 12, seed=1)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    assert overlap.share(rows[order], [rows]) == 1
    padded = replace(rows, **{name: torch.nn.functional.pad(getattr(rows, name), (0, 5))
                              for name in ("ids", "real", "scored", "response")})  # fmt: skip
    assert overlap.share(padded[order[:5]], [rows]) == 1
    assert overlap.share(make_tokens(20, 12, seed=2), [rows]) == 0


def test_a_start_before_every_window_hides_nothing(stream):
    body = stream[: 31 * 64].view(-1, 31)
    led = whole(torch.cat([torch.zeros(64, 1, dtype=torch.int64), body], dim=1))
    assert overlap.share(led, [cut(stream)]) == 1


def test_what_is_said_goes_by_the_share(stream):
    fresh = torch.randint(3, 30, (8_000,), generator=torch.Generator().manual_seed(5))
    some, more = fresh.clone(), fresh.clone()
    some[100:140], more[100:300] = stream[:40], stream[:200]
    others = {"the other": cut(stream)}
    assert overlap.remark(cut(fresh), others) == ""
    assert "0.5 % of it stands in the other too, too little to matter" in overlap.remark(cut(some), others)
    assert overlap.remark(cut(more), others) == (
        "2.5 % of it stands in the other too, word for word: figures of it flatter."
    )


def test_one_text_has_many_names(tmp_path):
    path = written(tmp_path, "a.txt", "once")
    (tmp_path / "link.txt").symlink_to(path)
    (tmp_path / "b.jsonl").write_text("{}")
    for first, second, same in (
        (path, str(tmp_path / "link.txt"), True),
        (path, f"{tmp_path}/../{tmp_path.name}/a.txt", True),
        (path, str(tmp_path / "b.jsonl"), False),
        (f"{tmp_path}/b.jsonl:x", f"{tmp_path}/b.jsonl:y", False),
        ("alpaca", "alpaca", True),
        ("alpaca", "hf:tatsu-lab/alpaca", True),
        ("wikitext2", "wikitext2", False),
        ("wikitext2", "hf:Salesforce/wikitext/wikitext-2-raw-v1:train", True),
        ("demo", "demo", False),
        ("everyday", "everyday", True),
        ("self", "demo", False),
    ):
        assert same_text(first, "calibration", second, "evaluation") is same, (first, second)


# --- a pair that is opened ----------------------------------------------------------------------------------------

SMALL = {"windows": 8, "captured": 4, "evaluated": 10, "length": LENGTH}


def opened(folders, calibration: str, evaluation: str, **changes):
    return finish(open_workspace(Recipe(*map(str, folders), calibration=calibration, evaluation=evaluation,
                                        **(SMALL | changes))))  # fmt: skip


def apart(workspace) -> bool:
    """Neither the full nor the live set has anything of what calibrates."""
    found = workspace.findings
    return all(overlap.share(text, [found.calibration]) == 0 for text in (found.evaluation, found.live))


def test_one_file_for_both_gives_each_windows_of_its_own(folders, tmp_path):
    story = written(tmp_path, "story.txt", words(0, 40 * LENGTH))
    workspace = opened(folders, story, story)
    assert apart(workspace)
    assert (len(workspace.findings.calibration), len(workspace.findings.evaluation)) == (8, 10)
    assert any("8 of 19 windows stand in the calibration text too" in note for note in workspace.findings.notes)


def test_too_little_for_both_is_divided_and_said(folders, tmp_path):
    story = written(tmp_path, "story.txt", words(0, 9 * LENGTH - 1))  # and a start
    workspace = opened(folders, story, story)
    assert apart(workspace)
    assert (len(workspace.findings.calibration), len(workspace.findings.evaluation)) == (4, 5)
    assert any("4 of its 9 windows calibrate, and the others are left to it" in note
               for note in workspace.findings.notes)  # fmt: skip


def test_a_text_too_short_to_be_divided_is_one_line(folders, tmp_path):
    story = written(tmp_path, "story.txt", words(0, 2 * LENGTH - 1))
    with pytest.raises(TextError, match=r"makes 2 windows of 32 tokens and cannot be split.*which takes 3") as caught:
        opened(folders, story, story)
    assert "\n" not in str(caught.value)


def test_copies_and_parts_by_other_names_are_left_out(folders, tmp_path):
    body, rest = words(0, 20 * LENGTH), words(1, 20 * LENGTH)
    story = written(tmp_path, "story.txt", body)
    copy = opened(folders, story, written(tmp_path, "copy.txt", "said", body))
    assert apart(copy)
    assert len(copy.findings.evaluation) == 10
    within = opened(folders, story, written(tmp_path, "longer.txt", rest[: len(rest) // 2], body, rest))
    assert apart(within)
    part = " ".join(body.split()[: 6 * LENGTH])
    with pytest.raises(TextError, match=r"All of .*part.txt that is read stands in the calibration text too"):
        opened(folders, story, written(tmp_path, "part.txt", part, "a"))


def test_repeated_paragraphs_are_said_as_a_share(folders, tmp_path):
    paragraph = words(7, 30)
    story = written(tmp_path, "story.txt", words(0, 100), paragraph, words(1, 2 * LENGTH))
    other = written(tmp_path, "other.txt", words(2, 111), paragraph, words(3, 8 * LENGTH))
    notes = opened(folders, story, other, length=64).findings.notes
    assert any("% of it stands in the calibration text too, word for word" in note for note in notes)
    twice = written(tmp_path, "twice.txt", *[words(5, 3 * LENGTH)] * 4)
    notes = opened(folders, twice, other).findings.notes
    assert any("of the held-out windows stands in those trained on too" in note for note in notes)


def test_the_second_text_is_apart_from_both(folders, tmp_path):
    story, other = (written(tmp_path, f"{seed}.txt", words(seed, 12 * LENGTH)) for seed in (0, 1))
    third = written(tmp_path, "third.txt", words(2, 3 * LENGTH), words(1, 12 * LENGTH))
    workspace = opened(folders, story, other, elsewhere=third)
    tokens = second_text(workspace, workspace.pair())
    assert overlap.share(tokens, [workspace.findings.calibration, workspace.findings.evaluation]) < 0.15
    assert len(tokens) == 5  # of 15; of the other text two windows judge nothing, so they are free
    workspace = opened(folders, story, other, elsewhere=other)
    assert second_text(workspace, workspace.pair()) is None


def test_nothing_in_common_changes_nothing(folders, pair, tmp_path):
    story, other = (written(tmp_path, f"{seed}.txt", words(seed, 12 * LENGTH)) for seed in (0, 1))
    plain = evaluation_tokens(other, pair.dense, pair.tokenizer, LENGTH, most=10)
    ours = evaluation_apart(other, pair.dense, pair.tokenizer, LENGTH, 10, {"it": make_tokens()})
    assert torch.equal(plain.ids, ours.ids)
    assert plain.notes == ours.notes
    assert not any("too" in note for note in opened(folders, story, other).findings.notes)


# --- the command line ---------------------------------------------------------------------------------------------


def test_commands_refuse_or_mark_what_was_trained_on(folders, tmp_path):
    body = words(0, 30 * LENGTH)
    story, copy = written(tmp_path, "story.txt", body), written(tmp_path, "copy.txt", "said", body)
    (tmp_path / "link.txt").symlink_to(story)
    pair = ["--dense", folders[0], "--pruned", folders[1], "--length", LENGTH]
    restore = ["restore", *pair, "--calibration", story, "--steps", 2]
    for elsewhere, says in ((tmp_path / "link.txt", "is the text that is trained on"),
                            (copy, "stands in the text trained on too, so nothing could be judged")):  # fmt: skip
        refused = call(*restore, "--elsewhere", elsewhere, "--out", tmp_path / "refused")
        assert refused.exit_code == 2
        assert says in refused.stderr.replace("\n", " ")
        assert not (tmp_path / "refused").exists()
    longer = written(tmp_path, "longer.txt", body, words(1, 8 * LENGTH))
    made = call(*restore, "--elsewhere", longer, "--out", tmp_path / "out")
    assert made.exit_code == 0, made.stderr
    assert "windows stand in the text trained on too and are left out" in made.stderr
    assert "windows stand in the text trained on too and are left out" in (tmp_path / "out" / "README.md").read_text()
    evaluate = ["evaluate", folders[1], "--adapter", tmp_path / "out", "--length", LENGTH, "--text"]
    assert any("which the adapter was trained on" in note for note in answer(*evaluate, copy)["notes"])
    fresh = written(tmp_path, "fresh.txt", words(9, 200))
    assert answer(*evaluate, fresh)["notes"] == []
    about = json.loads((tmp_path / "out" / "restorelcc.json").read_text())
    assert len(about["sketch"]) <= 8 * overlap.SKETCHED


def test_repeated_rows_are_said_by_restore_and_sweep(folders, tmp_path):
    twice = written(tmp_path, "twice.txt", *[words(5, 3 * LENGTH)] * 4)
    pair = ["--dense", folders[0], "--pruned", folders[1], "--calibration", twice, "--length", LENGTH, "--steps", 1]
    says = "of the held-out windows stands in those trained on too"
    made = call("restore", *pair, "--elsewhere", "", "--out", tmp_path / "out")
    assert says in made.stderr
    assert says in (tmp_path / "out" / "README.md").read_text()
    assert says in call("sweep", *pair, "--heads", "1", "--components", "all", "--lr", "0.1").stderr
