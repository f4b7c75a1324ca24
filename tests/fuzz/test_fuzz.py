"""Damaged and strange input: the right value or one clear line, nothing left behind, nothing outside touched.

python -m pytest -m fuzz                                  2 000 seeded cases, as in the gate
FUZZ_CASES=50000 FUZZ_SEED=7 python -m pytest -m fuzz     any number by hand
"""

from __future__ import annotations

import csv
import json
import os
import sys
from collections import Counter

import pandas as pd
import pytest
import torch
from commands import call
from conftest import WORDS, make_model, make_tokenizer, noisy
from families import OWN, make_family
from hypothesis import HealthCheck, Phase, given, seed, settings
from judge import faults, state
from tokenizer_kinds import byte_bpe, sentencepiece_like
from within import all_subjects

from restorelcc.artifacts.export import save_checkpoint
from restorelcc.artifacts.findings import save_findings
from restorelcc.artifacts.unfinished import Keeper

CASES, SEED = int(os.environ.get("FUZZ_CASES", "2000")), int(os.environ.get("FUZZ_SEED", "0"))
SUBJECTS = list(all_subjects(None))
SHOWN = 600  # characters of a case

pytestmark = pytest.mark.fuzz


def text_files(folder):
    """Texts of every kind that is read."""
    line = " ".join(WORDS)
    (folder / "text.txt").write_text("\n".join([line] * 6))
    rows = [
        {"prompt": "the cat", "response": f" ran to the {word} and sat in the big red house"} for word in WORDS[:12]
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "rows.json").write_text(json.dumps({"data": rows}))
    pd.DataFrame(rows).to_parquet(folder / "rows.parquet")
    for name, separator in (("rows.csv", ","), ("rows.tsv", "\t")):
        with (folder / name).open("w", newline="") as file:
            table = csv.DictWriter(file, list(rows[0]), delimiter=separator)
            table.writeheader()
            table.writerows(rows)
    questions = [{"prompt": "the cat", "right": f" ran {word}", "wrong": [" sat"]} for word in WORDS[:8]]
    (folder / "questions.jsonl").write_text("\n".join(map(json.dumps, questions)))


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """A folder of valid things."""
    folder = tmp_path_factory.mktemp("fuzz") / "valid"
    folder.mkdir()
    (folder.parent / "secret.txt").write_text("nobody asked for this")
    dense, tokenizer = make_model(), make_tokenizer()
    models = {"dense": dense, "pruned": noisy(dense)} | {f"family-{kind}": make_family(kind) for kind in OWN}
    for name, model in models.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    dense.save_pretrained(folder / "sharded", max_shard_size="8KB")
    tokenizer.save_pretrained(folder / "sharded")
    for name, other in {"tokenizer-bpe": byte_bpe(), "tokenizer-pieces": sentencepiece_like()}.items():
        make_model(vocab_size=len(other)).save_pretrained(folder / name)
        other.save_pretrained(folder / name)
    torch.save(dense.state_dict(), in_parts(folder / "pickled", dense, tokenizer) / "pytorch_model.bin")
    (folder / "pickled/model.safetensors").unlink()
    bpe = byte_bpe()
    apart = in_parts(folder / "tokenizer-apart", make_model(vocab_size=len(bpe)), bpe)
    bpe.backend_tokenizer.model.save(str(apart))
    (apart / "tokenizer.json").unlink()
    (apart / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "GPT2Tokenizer"}))
    text_files(folder)
    return folder


def in_parts(folder, model, tokenizer):
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _killed(keep, keeper, training):
    """A training that is over in the middle."""
    if training.history[-1].step == 2:
        sys.exit(3)
    keep(keeper, training, now=True)


@pytest.fixture(scope="module")
def made(valid, workspace, pair):
    """`valid`, with what commands make of it: a narrower model, an adapter, a run; and what is kept in the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(valid / "data"))
        patch.setenv("XDG_CACHE_HOME", str(valid / "cache"))
        text = ["--calibration", valid / "text.txt", "--length", "16"]
        for command in (
            ["prune", valid / "dense", "--method", "structured", "--ratio", "0.5", "--out", valid / "narrow", *text],
            ["restore", "--dense", valid / "dense", "--pruned", valid / "pruned", "--steps", "2",
             "--out", valid / "adapter", *text],
        ):  # fmt: skip
            assert call(*command).exit_code == 0
        keep = Keeper.keep
        patch.setattr(Keeper, "keep", lambda self, training, now=False: _killed(keep, self, training))
        left = ["--dense", valid / "dense", "--pruned", valid / "pruned", "--steps", "3", "--out", valid / "left"]
        assert call("restore", *left, *text).exit_code == 3
    save_findings(valid / "findings", workspace.findings)
    save_checkpoint(valid / "sealed", pair.pruned, pair.tokenizer, sealed=True)
    return valid


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_damaged_input_gets_the_right_value_or_one_clear_line(subject, made, workspace, tmp_path, capfd):
    strategy, share = all_subjects(workspace)[subject]
    found, seen, before = {}, Counter(), state(made)

    @seed(SEED)
    @settings(
        max_examples=max(1, round(CASES * share)), phases=[Phase.generate], deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy(made))
    def read(case):
        seen["cases"] += 1
        wrong = faults(case, made, tmp_path / "scratch")
        if "panicked" in capfd.readouterr().err:  # What is written in Rust tells of it by itself.
            wrong.append("a library panicked, and said so")
        for fault in wrong:
            found.setdefault(fault, case)

    read()
    assert state(made) == before
    told = "\n".join(f"{fault}\n    {case}"[:SHOWN] for fault, case in found.items())
    assert not found, f"{len(found)} kinds of fault in {seen['cases']} cases of {subject}:\n{told}"
