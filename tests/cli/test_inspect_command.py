"""The command `inspect` on tiny models."""

import json

import pandas as pd
import pytest
from commands import answer, call
from families import make_family


def test_inspect_scores_heads_and_orders_by_the_first(pair_args):
    found = answer("inspect", *pair_args, "--scores", "predicted,ceiling", "--in-order")
    predicted = [row["predicted"] for row in found["heads"]]
    assert predicted == sorted(predicted)
    assert all(row["predicted_error"] > 0 and "ceiling" in row for row in found["heads"])
    assert "Heads by predicted" in call("inspect", *pair_args, "--scores", "predicted").stdout
    wrong = call("inspect", *pair_args, "--scores", "beauty")
    assert wrong.exit_code == 2
    assert "not known" in wrong.stderr


def test_inspect_looks_closer(pair_args):
    found = answer("inspect", *pair_args, "--closer", "kinds,depth,windows", "--scores", "induction_change,entropy")
    assert [row["layer"] for row in found["depth"]] == [0, 1, 2]
    assert sorted(row["window"] for row in found["windows"]) == list(range(12))
    assert [row["lost"] for row in found["windows"]] == sorted((row["lost"] for row in found["windows"]), reverse=True)
    assert all(row["token"] for row in found["windows"])
    assert {row["kind"] for row in found["kinds"]} == {"previous_token", "duplicate_token", "induction", "first_token"}
    strongest = max(found["kinds"], key=lambda row: row["dense"] if row["kind"] == "induction" else 0)
    at = next(row for row in found["heads"] if (row["layer"], row["head"]) == (strongest["layer"], strongest["head"]))
    assert at["induction_change"] == pytest.approx(strongest["pruned"] - strongest["dense"])
    changes = [row["induction_change"] for row in found["heads"]]
    assert changes == sorted(changes)
    assert "Kinds of heads" in call("inspect", *pair_args, "--closer", "kinds").stdout
    assert "after layer" in call("inspect", *pair_args, "--closer", "depth").stdout
    assert "lost most at" in call("inspect", *pair_args, "--closer", "windows").stdout
    assert "Look 'beauty' is not known" in call("inspect", *pair_args, "--closer", "beauty").stderr


def test_inspect_says_what_could_come_back_at_all(pair_args):
    found = answer("inspect", *pair_args, "--bounds")["bounds"]
    assert [row["what"] for row in found] == [
        "pruned",
        "constants",
        "heads",
        "heads",
        "heads",
        "heads",
        "mlps",
        "dense",
    ]
    assert [row["layer"] for row in found] == [None, None, 0, 1, 2, None, None, None]
    shown = call("inspect", *pair_args, "--bounds").stdout
    assert "What could come back at all" in shown
    assert "heads of layer 2 dense" in shown


def test_inspect_lists_every_head_and_writes_the_table(pair_args, tmp_path):
    found = answer("inspect", *pair_args, "--csv", tmp_path / "heads.csv", "--top", 5)
    assert len(found["heads"]) == 12
    assert len(found["components"]) == 5
    assert found["tokens"] == 12 * 16
    table = pd.read_csv(tmp_path / "heads.csv")
    assert len(table) == 12
    ranked = [head["output_weighted"] for head in found["heads"]]
    assert ranked == sorted(ranked, reverse=True) == sorted(table["output_weighted"], reverse=True)
    shown = call("inspect", *pair_args)
    assert "Strongest lost components" in shown.stdout


def test_what_is_no_family_is_said_beside_the_results(folders, text, tokenizer, tmp_path):
    make_family("bloom", num_key_value_heads=4, hidden_size=32).save_pretrained(tmp_path / "bloom")
    tokenizer.save_pretrained(tmp_path / "bloom")
    place = str(tmp_path / "bloom")
    options = ["--dense", place, "--pruned", place, "--calibration", str(text), "--length", "16", "--json"]
    result = call("inspect", *options)
    assert len(json.loads(result.stdout)["heads"]) == 2 * 4
    assert result.stderr.startswith("'bloom' is none of the families that are tested")
    assert call("inspect", *(str(folders[0]) if o == place else o for o in options)).stderr == ""


def test_what_probing_does_not_ask_is_said_beside_the_results(pair_args, tmp_path):
    rows = [
        {"prompt": f"the {name}", "right": " ran", "wrong": [" saw"]} for name in ("dog", "cat", "girl", "boy", "mom")
    ]
    source = tmp_path / "rows.jsonl"
    source.write_text("\n".join(json.dumps(row) for row in [*rows, {"prompt": "the ball", "right": None}]))
    result = call("inspect", *pair_args, "--scores", "probing", "--contrast", source, "--json")
    assert result.exit_code == 0, result.output
    assert "probing: 1 of 6 rows are no question with an answer" in result.stderr
