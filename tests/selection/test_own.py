"""Scores made elsewhere: what a file may say of heads, and that a bad one is refused in a line that says why."""

import json
import math
import shlex
from pathlib import Path

import pandas as pd
import pytest
import torch
from commands import answer, call

from restorelcc.artifacts.runs import list_runs, load_run
from restorelcc.errors import SettingError
from restorelcc.selection.own import LARGEST, own_score

SHAPE = (2, 3)
ROWS = [(layer, head, layer - 0.5 * head) for layer in range(2) for head in range(3)]


def as_csv(rows, sep=",", head=("layer", "head", "value")) -> bytes:
    return "\n".join(sep.join(map(str, row)) for row in (head, *rows)).encode()


def as_json(rows) -> bytes:
    return json.dumps([dict(zip(("layer", "head", "value"), row, strict=True)) for row in rows]).encode()


@pytest.mark.parametrize(
    "content",
    [
        as_csv(ROWS),
        as_csv(ROWS, ";"),
        as_csv(ROWS, "\t").replace(b"\n", b"\r\n") + b"\r\n\r\n",
        b"\xef\xbb\xbf" + as_csv(reversed(ROWS), head=(" Layer", "HEAD ", "Value")),
        as_csv([(value, "note", head, layer) for layer, head, value in ROWS],
               head=("value", "remark", "head", "layer")),
        as_json(ROWS),
        as_csv([(f"{layer}.0", head, value) for layer, head, value in ROWS]),
    ],
)  # fmt: skip
def test_every_way_to_write_it_is_read_alike(content):
    own = own_score("my_scores-v2.csv", content, SHAPE)
    expected = torch.tensor([[0.0, -0.5, -1.0], [1.0, 0.5, 0.0]], dtype=torch.float64)
    assert torch.equal(own.scored.values, expected)
    assert (own.row.name, own.row.title, own.row.first) == ("own_my_scores_v2", "my scores v2", "highest")
    assert torch.equal(own.from_lowest(True).row.order(own.scored.values), -expected)


def test_heads_without_a_row_are_not_known():
    values = own_score("a.csv", as_csv(ROWS[1:3]), SHAPE).scored.values
    assert values.isnan().tolist() == [[True, False, False], [True, True, True]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (as_csv([(0, 0, 1)], head=("layer", "head", "score")), "has no value: what it has is layer, head, score"),
        (b"", "no layer and no head and no value: what it has is nothing"),
        (as_csv([]), "no rows"),
        (b"[]", "no rows"),
        (as_csv([(0, 0, 1), (2, 0, 1)]), "row 2: there is no head 2.0. This pair has 2 layers of 3 heads"),
        (as_csv([(0, -1, 1)]), "no head 0.-1"),
        (as_csv([(0, 0, 1), (0, 0, 1)]), "row 2: head 0.0 has a value already"),
        (as_csv([(0, 0, "nan")]), "row 1: value is 'nan', which is no finite number"),
        (as_csv([(0, 0, "1e999")]), "no finite number"),
        (as_csv([(0, 0)]), "value is missing"),
        (as_csv([(0.5, 0, 1)]), "layer is '0.5', which is no whole number"),
        (as_csv([("first", 0, 1)]), "layer is 'first'"),
        (b'[{"layer": 0, "head": 0, "value": NaN}]', "no finite number"),
        (b'[{"layer": 0, "head": 0, "value": true}]', "no finite number"),
        (b'[{"layer": 0, "head": 0, "value": ' + b"9" * 400 + b"}]", "no finite number"),
        (b'{"layer": 0}', "no list of objects"),
        (b"[" * 100_000, "cannot be read as scores"),
        (b"layer,head,value\n0,0,\xff", "cannot be read as scores"),
        (b"x" * (LARGEST + 1), "at most 4 MB are read"),
    ],
)
def test_a_bad_file_is_refused_in_a_line(content, says):
    with pytest.raises(SettingError) as refused:
        own_score("mine.csv", content, SHAPE)
    assert says in str(refused.value)
    assert "mine.csv" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("file", ["<b>*x*</b> [y](z).csv", "random.csv", "1. $x$ :red[a].json", "...", "ü" * 300])
def test_its_name_is_letters_wherever_it_stands(file):
    row = own_score(file, as_csv(ROWS), SHAPE).row
    assert row.title.replace(" ", "").isalnum()
    assert row.name.isidentifier()
    assert len(row.title) <= 40


def test_inspect_lists_it_orders_by_it_and_writes_it(pair_args, tmp_path):
    table = pd.DataFrame([(i // 4, i % 4, (7 * i) % 12) for i in range(12)], columns=["layer", "head", "value"])
    file = tmp_path / "luck.csv"
    table.head(11).to_csv(file, index=False)
    found = answer("inspect", *pair_args, "--own", file, "--csv", tmp_path / "all.csv")["heads"]
    known = [row["own_luck"] for row in found if row["own_luck"] is not None and not math.isnan(row["own_luck"])]
    assert known == sorted(table["value"].head(11), reverse=True)
    assert found[0]["own_luck"] == 11
    assert pd.read_csv(tmp_path / "all.csv")["own_luck"].notna().sum() == 11
    assert "Heads by luck" in call("inspect", *pair_args, "--own", file).stdout
    by_score = answer("inspect", *pair_args, "--own", file, "--scores", "gradient")["heads"]
    assert by_score[0]["gradient"] == max(row["gradient"] for row in by_score)

    (tmp_path / "far.json").write_text('[{"layer": 3, "head": 0, "value": 1}]')
    for bad in ("far.json", "none.csv"):
        refused = call("inspect", *pair_args, "--own", tmp_path / bad)
        assert refused.exit_code == 2
        assert len(refused.stderr.strip().splitlines()) == 1


def test_restore_and_sweep_take_the_heads_that_it_has_come_first(pair_args, tmp_path):
    file = tmp_path / "luck.csv"
    file.write_bytes(as_csv([(2, 3, 5.0), (0, 1, 7.5), (1, 0, -1.0)]))
    some = [*pair_args, "--steps", 2, "--own", file]
    answer("restore", *some, "--heads", 0.25, "--out", tmp_path / "out")
    (run,) = list_runs()
    assert run.selection.heads == {(2, 3), (0, 1), (1, 0)}
    found = answer("sweep", *some, "--heads", "0.17,1", "--lr", 0.2)
    assert [load_run(Path(folder)).selection.heads for folder in found["runs"][:1]] == [{(2, 3), (0, 1)}]
    few = next(row for row in found["results"] if row["heads"] < 1)
    words = shlex.split(answer("sweep", *some, "--heads", 0.17, "--lr", 0.2)["best"]["kl"])
    assert words[words.index("--own") + 1] == str(file)
    words[words.index("--out") + 1] = str(tmp_path / "again")
    assert answer(*words[3:])["restored"]["perplexity"] == pytest.approx(few["perplexity"], rel=1e-6)

    for command, out in (("restore", ["--out", tmp_path / "none"]), ("sweep", ["--lr", 0.1])):
        for more, says in (
            ([], "all of them are to be restored: give --heads below 1"),
            (["--heads", 0.5, "--own", tmp_path / "none.csv"], "none.csv cannot be read"),
        ):
            refused = call(command, *some, *out, *more)
            assert refused.exit_code == 2
            assert says in refused.stderr
            assert len(refused.stderr.strip().splitlines()) == 1
