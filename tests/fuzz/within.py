"""Subjects that no command reads: findings and checkpoints in the cache, links, the parts of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import asked
import subjects
from damage import NASTY_NUMBERS, NASTY_TEXTS, files, garbled
from hypothesis import strategies as st
from subjects import Case, tensors

from app.session.links import applied, fitted
from app.session.state import Session
from restorelcc.artifacts.findings import FACTS, TENSORS, load_findings
from restorelcc.artifacts.runs import load_run
from restorelcc.storage.digests import check_seal
from restorelcc.workspace import Workspace


def read_findings(folder: Path) -> object:
    """Damage of whatever kind is found out: a digest is kept with them."""
    return load_findings(folder / "findings")


def read_sealed(folder: Path) -> object:
    return check_seal(folder / "sealed")


def read_run(folder: Path) -> object:
    """All parts, whichever are whole."""
    (place,) = (folder / "data/restorelcc/runs").glob("2*")
    run = load_run(place)
    assert isinstance(run.damage, str)
    return [run.name, run.created, run.adapter(), run.metrics(), run.trained(), run.settings, run.selection]


def findings(folder: Path) -> st.SearchStrategy[Case]:
    """What is kept of a pair."""
    facts, numbers = f"findings/{FACTS}", f"findings/{TENSORS}"
    return st.one_of(
        files((folder / facts).read_bytes()).map(lambda new: Case(damage={facts: new}, call=read_findings)),
        tensors(folder / numbers).map(lambda new: Case(damage={numbers: new}, call=read_findings)),
        files((folder / "findings/digests.json").read_bytes()).map(
            lambda new: Case(damage={"findings/digests.json": new}, call=read_findings)
        ),
        st.sampled_from(["sealed/config.json", "sealed/model.safetensors", "sealed/digests.json"]).flatmap(
            lambda name: garbled((folder / name).read_bytes()).map(
                lambda new: Case(damage={name: new}, call=read_sealed)
            )
        ),
        st.builds(
            lambda name, kind: Case(special={name: kind}, call=read_findings, beside="findings"),
            st.sampled_from([facts, numbers, "findings/digests.json", "findings/more"]),
            st.sampled_from(subjects.SPECIAL),
        ),
    )


def parts_of_runs(folder: Path) -> st.SearchStrategy[Case]:
    """The same damage as `subjects.runs`, read part by part."""
    return subjects.runs(folder).map(lambda case: Case(damage=case.damage, special=case.special, call=read_run,
                                                       beside="data"))  # fmt: skip


LINK = {
    "head": "1.2", "component": "1", "picks": "0.1~1.2_0-1_3*1.5", "names": "0.1.0=speech", "run": "x", "metric": "kl",
    "windows": "8", "captured": "4", "evaluated": "4", "length": "16", "prune": "0.5", "method": "wanda",
    "allocation": "uniform", "device": "cpu", "dtype": "float32", "revision": "main", "in_order": "1",
    "dense": "demo", "pruned": "x", "calibration": "demo", "evaluation": "demo",
}  # fmt: skip


def links(folder: Path, workspace: Workspace) -> st.SearchStrategy[Case]:
    """What a link asks for."""
    signs = st.text(alphabet="0123456789.~_-*e:all", max_size=24)
    values = st.one_of(
        signs, signs, st.sampled_from(NASTY_TEXTS), st.sampled_from(NASTY_NUMBERS).map(str), st.text(max_size=20)
    )
    link = st.dictionaries(st.sampled_from(sorted(LINK)), values, max_size=3).map(
        lambda changed: LINK | changed if len(changed) > 1 else changed
    )
    return link.map(lambda link: Case(call=partial(follow, link, workspace)))


def follow(link: dict[str, str], workspace: Workspace, folder: Path) -> object:
    """As the app does with a link, and what it then shows."""
    session = Session(owner="")
    applied(session, link)
    fitted(session, workspace)
    layers, heads, components = workspace.lost.shape
    assert session.head is None or (session.head[0] < layers and session.head[1] < heads)
    assert 0 <= session.component < components
    if session.picks is not None:
        assert session.picks.weights().isfinite().all()
        json.dumps(session.picks.to_text())
    return session


Subject = Callable[[Path], st.SearchStrategy[Case]]


def all_subjects(workspace: Workspace) -> dict[str, tuple[Subject, float]]:
    """Each with its share of the cases."""
    return {
        "configs": (subjects.configs, 0.16),
        "weights": (subjects.weights, 0.10),
        "tokenizers": (subjects.tokenizers, 0.10),
        "adapters": (subjects.adapters, 0.06),
        "head maps": (subjects.head_maps, 0.05),
        "texts": (subjects.texts, 0.11),
        "options": (subjects.options, 0.13),
        "names": (subjects.names, 0.07),
        "runs": (subjects.runs, 0.04),
        "interrupted": (subjects.interrupted, 0.04),
        "parts of runs": (parts_of_runs, 0.03),
        "special files": (subjects.special_files, 0.04),
        "findings": (findings, 0.03),
        "links": (partial(links, workspace=workspace), 0.04),
        "option files": (asked.option_files, 0.06),
        "picks in a file": (asked.picks, 0.02),
        "comparisons": (asked.comparisons, 0.03),
        "questions": (asked.questions, 0.03),
    }
