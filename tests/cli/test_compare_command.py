"""The command `compare` on tiny models."""

import pandas as pd
from commands import answer, call

from restorelcc.restoration.baselines.methods import METHODS


def test_methods_are_compared_on_equal_budget(pair_args, text, tmp_path):
    budget = ["--steps", "2", "--batch", "2", "--seeds", "2", "--text", text, "--elsewhere", "", "--judged", "2"]
    found = answer(
        "compare", *pair_args, "--methods", "restorelcc,mean-bias,lora", *budget, "--csv", tmp_path / "t.csv"
    )
    assert found["budget"] == {"steps": 2, "batch": 2, "seeds": 2}
    rows = found["results"]
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("restorelcc", 0), ("mean-bias", 0), ("lora", 0), ("restorelcc", 1), ("lora", 1),
    ]  # fmt: skip
    assert [row["free_at_inference"] for row in rows] == [True, True, False, True, False]
    assert not found["stopped"]
    assert list(pd.read_csv(tmp_path / "t.csv")["method"]) == [row["method"] for row in rows]
    told = call("compare", *pair_args, "--methods", "mean-bias", *budget).stdout
    assert METHODS["mean-bias"].title in told
    assert "free" in told


def test_what_cannot_be_compared_is_a_line(pair_args):
    wrong = call("compare", *pair_args, "--methods", "lora,beauty")
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("Error: Method 'beauty' is not known")
    assert "Half a pair" in call("compare", *pair_args[:2]).stderr
    assert "'bloom' is no pair" in call("compare", "bloom").stderr
    assert "cannot stay on disk" in call("compare", "demo", "--device", "disk").stderr
