"""Damaged and strange input: the right value or one clear line, nothing left behind, nothing outside touched.

python -m pytest -m fuzz                          2 000 seeded cases, as in the gate
FUZZ_CASES=50000 FUZZ_SEED=7 python -m pytest -m fuzz     any number by hand
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import resource
import shutil
import signal
import time
from pathlib import Path

import pytest
from commands import call
from conftest import WORDS, make_model, make_tokenizer, noisy
from hypothesis import HealthCheck, Phase, given, seed, settings
from subjects import SUBJECTS, Case

CASES, SEED = int(os.environ.get("FUZZ_CASES", "2000")), int(os.environ.get("FUZZ_SEED", "0"))
LONGEST = 500  # characters of a message
SECONDS, BYTES = 60, 2 * 2**30

pytestmark = pytest.mark.fuzz


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    """A folder of valid things, made once by the commands themselves."""
    folder = tmp_path_factory.mktemp("valid")
    dense, tokenizer = make_model(), make_tokenizer()
    for name, model in {"dense": dense, "pruned": noisy(dense)}.items():
        model.save_pretrained(folder / name)
        tokenizer.save_pretrained(folder / name)
    dense.save_pretrained(folder / "sharded", max_shard_size="8KB")
    tokenizer.save_pretrained(folder / "sharded")
    line = " ".join(WORDS)
    (folder / "text.txt").write_text("\n".join([line] * 6))
    rows = [
        {"prompt": "the cat", "response": f" ran to the {word} and sat in the big red house"} for word in WORDS[:12]
    ]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="module")
def made(valid):
    """`valid`, with what commands make of it: a narrower model, an adapter, a run."""
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
    return valid


def state(folder: Path) -> dict[str, str]:
    """Everything in it, with what it holds."""
    return {
        str(path.relative_to(folder)): "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_dir() or (path.is_file() and not path.is_symlink())
    }


class Overtime(BaseException):
    """It took longer than it may."""


def late(*_: object) -> None:
    raise Overtime


def faults(case: Case, made: Path, scratch: Path) -> list[str]:
    """What is wrong with how a case is answered; nothing where all is as promised."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(made, scratch, symlinks=True)
    arguments = case.placed(scratch)
    os.environ["XDG_DATA_HOME"], os.environ["XDG_CACHE_HOME"] = str(scratch / "data"), str(scratch / "cache")
    before, outside = state(scratch), state(made)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    began = time.monotonic()
    try:
        result = call(*arguments)
    except Overtime:
        return [f"took longer than {SECONDS} s"]
    finally:
        signal.alarm(0)
    wrong = []
    if isinstance(result.exception, Overtime):
        return [f"took longer than {SECONDS} s"]
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return [f"{type(result.exception).__name__}: {str(result.exception)[:200]}"]
    if result.exit_code == 2:
        lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        usage = "Usage:" in result.stderr
        if len(lines) != 1 and not usage:
            wrong.append(f"{len(lines)} messages: {result.stderr[-300:]!r}")
        elif not usage and len(result.stderr[result.stderr.index("Error: ") :].strip().splitlines()) != 1:
            wrong.append(f"a message of several lines: {result.stderr[:300]!r}")
        elif not usage and len(lines[0]) > LONGEST + len("Error: "):
            wrong.append(f"a message of {len(lines[0])} characters: {lines[0][:200]!r}")
        left = {name for name in state(scratch).items() ^ before.items() if not name[0].startswith("cache")}
        if left:
            wrong.append(f"left or changed {sorted(left)[:3]}")
    elif result.exit_code == 0:
        wrong += [f"a number that is none: {result.stdout[:200]!r}"] if not finite(result.stdout) else []
    else:
        wrong.append(f"exit {result.exit_code}: {result.output[-200:]!r}")
    if state(made) != outside:
        wrong.append("changed something outside")
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held)
    if grown > BYTES:
        wrong.append(f"took {grown / 2**30:.1f} GiB")
    if time.monotonic() - began > SECONDS:
        wrong.append("took too long")
    return wrong


def finite(text: str) -> bool:
    """Where it is JSON: no NaN, no infinity, and a perplexity that is a number."""
    try:
        answer = json.loads(text)
    except ValueError:
        return True
    return not (isinstance(answer, dict) and "perplexity" in answer) or (
        isinstance(answer["perplexity"], float) and math.isfinite(answer["perplexity"])
    )


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_damaged_input_gets_the_right_value_or_one_clear_line(subject, made, tmp_path):
    strategy, share = SUBJECTS[subject]
    found: dict[str, Case] = {}
    count = 0

    @seed(SEED)
    @settings(
        max_examples=max(1, round(CASES * share)), phases=[Phase.generate], deadline=None, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy(made))
    def read(case: Case) -> None:
        nonlocal count
        count += 1
        for fault in faults(case, made, tmp_path / "scratch"):
            found.setdefault(fault, case)

    read()
    told = "\n".join(f"{fault}\n    {case}"[:1500] for fault, case in found.items())
    assert not found, f"{len(found)} kinds of fault in {count} cases of {subject}:\n{told}"
