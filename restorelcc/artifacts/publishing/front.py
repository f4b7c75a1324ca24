"""What the hub reads of a model card: the block of YAML at its top, of what is known and was measured, and no more."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData, try_to_load_from_cache

from ...errors import LoadError
from ...evaluation.tasks.known import TASKS
from ...foreign import content_of, foreign
from ...hf import hub
from ...text import sources

Name = Callable[[object], str]
"""How a card calls a model or a text (see `card.name_of`)."""
ON_THE_HUB = re.compile(r"[\w.-]+/[\w.-]+")
LARGEST = 2**20
"""Bytes of a card that is read."""
LICENCE = re.compile(r"[\w.+-]{1,60}")


def front_matter(kind: str, about: Mapping[str, Any], name_of: Name) -> str:
    """Of an export, or of a checkpoint that is `pruned` and nothing else; about: as `card.model_card` has it."""
    dense = str(about.get("dense") or "")
    results = _results("pruned" if kind == "pruned" else "restored", about, name_of)
    facts = ModelCardData(
        library_name="transformers",
        tags=["pruned"] if kind == "pruned" else ["pruned", "restorelcc"],
        base_model=dense if ON_THE_HUB.fullmatch(dense) else None,
        license=next(filter(None, map(licence, (dense, str(about.get("pruned") or "")))), None),
        datasets=_datasets(about) or None,
        model_name=f"{name_of(dense) or 'A model'}, {kind}" if results else None,
        eval_results=results or None,
    )
    order = ["library_name", "tags", "base_model", "license", "datasets"]
    return f"---\n{facts.to_yaml(original_order=order)}\n---"


def licence(model: str) -> str | None:
    """As the card of a model says it: in its folder, in the hub's cache, or on the hub; None where none is found."""
    if not model:
        return None
    with suppress(LoadError), foreign(lambda reason: LoadError(reason)):
        found = _card(model)
        said = None if found is None else found.data.get("license")
        return said if isinstance(said, str) and LICENCE.fullmatch(said) else None
    return None


def _card(model: str) -> ModelCard | None:
    """The card of a model by its name. Raises whatever reading it does."""
    folder = Path(os.path.expanduser(model))
    if folder.is_dir():
        return _read(folder / "README.md")
    if not ON_THE_HUB.fullmatch(model):
        return None
    cached = try_to_load_from_cache(model, "README.md")
    if isinstance(cached, str):
        return _read(Path(cached))
    return ModelCard.load(model) if hub.reachable() else None


def _read(path: Path) -> ModelCard:
    return ModelCard(content_of(path, LARGEST).decode("utf-8"))


def dataset(source: object) -> str:
    """The dataset of the hub that a text is of; empty for any other text."""
    text = str(source or "")
    place = sources.HUB[text][0] if text in sources.HUB else text.removeprefix("hf:") if text.startswith("hf:") else ""
    return "/".join(place.partition(":")[0].split("/")[:2])


def _datasets(about: Mapping[str, Any]) -> list[str]:
    """Those that it was pruned and trained with."""
    used = [about.get("calibration"), about.get("pruning")]
    named = [part.get(name) for part in used if isinstance(part, Mapping) for name in ("source", "calibration")]
    return [*dict.fromkeys(filter(None, map(dataset, named)))]


def _results(state: str, about: Mapping[str, Any], name_of: Name) -> list[EvalResult]:
    """What was measured of one state of the model: on its texts, and by questions."""
    figures = about.get("figures") or {}
    elsewhere = figures.get("elsewhere") or {}
    judged = about.get("judged_on") or {}
    texts = (figures, judged.get("text") or about.get("evaluation")), (elsewhere, elsewhere.get("text"))
    found = [result for measured, source in texts for result in _of_text(state, measured, source, name_of)]
    return [*found, *(result for row in about.get("tasks") or () for result in _of_task(state, row))]


def _of_text(state: str, measured: Mapping[str, Any], source: object, name_of: Name) -> list[EvalResult]:
    own, far = measured.get(state) or {}, (measured.get("kl") or {}).get(state) or {}
    values = {
        "perplexity": ("Perplexity", own.get("perplexity")),
        "kl": ("KL from the dense model, nats per token", far.get("nats")),
        "recovered_share": ("Share of the lost log-likelihood recovered", measured.get("recovered_share")),
        "nearer": ("Share of the distance to the dense model that is gone", measured.get("nearer")),
    }
    if state == "pruned":
        values = {name: values[name] for name in ("perplexity", "kl")}
    called = name_of(source) or "text"
    return [
        _result(dataset(source) or called, called, metric, title, value)
        for metric, (title, value) in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    ]


def _of_task(state: str, row: Mapping[str, Any]) -> list[EvalResult]:
    task, metric = str(row.get("task")), str(row.get("metric"))
    value = ((row.get("models") or {}).get(state) or {}).get(metric)
    title = TASKS[task].title if task in TASKS else task
    return [] if value is None else [_result(task, title, metric, f"{metric}, zero-shot", value)]


def _result(kind: str, name: str, metric: str, title: str, value: float) -> EvalResult:
    return EvalResult(
        task_type="text-generation",
        dataset_type=kind,
        dataset_name=name,
        metric_type=metric,
        metric_name=title,
        metric_value=round(value, 4),
    )
