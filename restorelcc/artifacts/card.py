"""The model card beside an export: what it is, how it came about, what was measured, and how to load it."""

from __future__ import annotations

import math
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..compensation.interface import Compensation
from ..compensation.weights import Weights
from ..errors import shortened
from ..hf.families import FAMILIES, RUNTIMES
from ..pruning.methods import ALLOCATIONS, narrows
from ..restoration.choices import LOSSES, WAYS, WHERE
from . import peft
from .export_formats import FORMATS
from .publishing.front import front_matter

RUNS = {
    "kept": "{} reads them.",
    "dropped": "{} **drops them in silence**: what it runs is the pruned model without its restoration.",
    "refused": "{} refuses the file, having no place for them.",
    "unknown": "Whether {} reads them is not known.",
}
"""What a runtime does with biases, in a sentence."""
CITATION = """```bibtex
@inproceedings{feng2025restoring,
  title     = {Restoring Pruned Large Language Models via Lost Component Compensation},
  author    = {Feng, Zijian and Li, Tianjiao and Zhu, Zixiao and Zhou, Hanzhang and Qian, Junlang and Zhang, Li and
               Chua, Jia Jim Deryl and Mak, Lee Onn and Ng, Gee Wah and Mao, Kezhi},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2025}
}
```"""


def model_card(
    kind: str,
    about: Mapping[str, Any],
    versions: Mapping[str, str],
    put_back: Compensation | None = None,
    merged_type: str = "",
    for_peft: bool = False,
) -> str:
    """README.md of an export, in Markdown. about: dense, pruned, pruning, calibration, settings, figures … as far as
    they are known; what is not is left out. `figures` are measured on what `evaluation` says.

    kind: of `FORMATS`, or 'pruned' for a checkpoint into which nothing is put back.
    merged_type: the `model_type` of a checkpoint in whose output biases a restoration is. for_peft: an adapter is also
    there in PEFT's format.
    """
    base = name_of(about.get("dense"))
    title = "pruned" if kind == "pruned" else FORMATS[kind].heading
    parts = [
        front_matter(kind, about, name_of),
        f"# {base or 'A model'}, {title}",
        _what(kind, about, put_back),
        f"```python\n{usage(kind, about)}\n```",
        _for_peft(_pruned(about)) if for_peft else "",
        _elsewhere(merged_type) if merged_type else "",
        "## How it came about\n\n" + "\n".join(f"- {fact}" for fact in _facts(about)),
        _figures(about) if about.get("figures") else "",
        _again(kind, about),
        "Made with " + ", ".join(f"{name} {number}" for name, number in versions.items()) + ".",
        "" if kind == "pruned" else f"## Citation\n\n{CITATION}",
    ]
    return without_places("\n\n".join(part for part in parts if part) + "\n", about)


PLACE = re.compile(r"(?<![\w:/.<>])~?/[\w.~+-]+(?:/[\w.~+ -]*[\w.~+-])+")
"""A path from the root of a disk, or from home, of two names at least."""


def without_places(text: str, about: Mapping[str, Any]) -> str:
    """With no path of the machine where it was made: of the models and texts that `about` names, and of others that a
    remark may hold, their own names stay."""
    for place in sorted(_strings(about), key=len, reverse=True):
        if place != name_of(place) and (
            place.startswith(("/", "~/")) or place in (about.get("dense"), about.get("pruned"))
        ):
            for written in (place, shortened(place)):
                text = text.replace(written, name_of(place))
    return PLACE.sub(lambda found: found[0].rstrip("/").rsplit("/", 1)[-1], text)


def _strings(value: object) -> set[str]:
    """All that is written in something that JSON holds."""
    if isinstance(value, Mapping):
        return set().union(*map(_strings, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(_strings, value))
    return {value} if isinstance(value, str) else set()


def name_of(source: object) -> str:
    """How a card calls a model: a hub id as it is; of a folder its own name, since where it lay is not told."""
    text = str(source or "")
    # Resolved: "." and ".." have no name of their own.
    if not text.startswith(("/", ".", "~")) and text.count("/") < 2:
        return text
    # Not Path's, which raise for names that no folder can have: it may stand in a file that was damaged.
    return Path(os.path.realpath(os.path.expanduser(text.replace("\x00", "")))).name


def _what(kind: str, about: Mapping[str, Any], put_back: Compensation | None) -> str:
    """What lies in the folder, in a sentence or two."""
    if kind == "pruned":
        narrow = narrows((about.get("pruning") or {}).get("method", ""))
        less = "fewer attention heads and MLP channels than its base" if narrow else "zeros in its weight matrices"
        return f"An ordinary checkpoint with {less}."
    made_of = f": {put_back.made_of}" if put_back else ""
    carrier = f"into its {put_back.carried_by}" if put_back else "in"
    where = FORMATS[kind].sentence.format(carrier=carrier)
    return f"RestoreLCC puts back what pruning took from attention heads{made_of}. {where}"


def usage(kind: str, about: Mapping[str, Any]) -> str:
    """The two lines that load it; kind: of `FORMATS`, or 'pruned'."""
    lines = FORMATS["checkpoint" if kind == "pruned" else kind].usage
    return lines.format(pruned=_pruned(about) or "PRUNED")


def evaluating(kind: str, about: Mapping[str, Any]) -> list[str]:
    """Command lines that measure it to the figures of its card, one a text of which a command reads what was judged by;
    none for a pruned checkpoint."""
    figures = about.get("figures") or {}
    texts = [about.get("judged_on"), (figures.get("elsewhere") or {}).get("judged_on")]
    lines = []
    for text in texts if kind in FORMATS else ():
        if not isinstance(text, Mapping):
            continue
        model = ["THIS FOLDER"] if kind == "checkpoint" else [_pruned(about) or "PRUNED", "--adapter", "THIS FOLDER"]
        given = {"against": name_of(about.get("dense")), "text": name_of(text.get("text"))}
        given |= {name: str(text[name]) for name in ("windows", "length", "dtype") if text.get(name)}
        options = [part for name, value in given.items() if value for part in (f"--{name}", value)]
        lines.append(shlex.join(["python", "-m", "restorelcc", "evaluate", *model, *options]))
    return lines


def _again(kind: str, about: Mapping[str, Any]) -> str:
    """How to come to the same figures."""
    lines = evaluating(kind, about)
    return "\n".join(["To measure it again, to the same figures:", "", "```sh", *lines, "```"]) if lines else ""


def _pruned(about: Mapping[str, Any]) -> str:
    """What others can call the pruned model; empty where it was made beside its training, and has no name."""
    recipe = about.get("recipe")
    made_here = isinstance(recipe, Mapping) and not recipe.get("pruned")
    return "" if made_here else name_of(about.get("pruned"))


def _for_peft(pruned: str) -> str:
    lines = (
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM",
        f'model = AutoModelForCausalLM.from_pretrained("{pruned or "PRUNED"}", dtype="auto")',
        f'model = PeftModel.from_pretrained(model, "THIS FOLDER/{peft.FOLDER}")',
    )
    said = "Or with PEFT alone, 0.14 or later, which does not ask whether it is the right model:"
    return "\n".join([said, "", "```python", *lines, "```"])


def _elsewhere(model_type: str) -> str:
    """What other runtimes do with a bias of the output projection."""
    family = FAMILIES.get(model_type)
    does = dict.fromkeys(RUNTIMES.values(), "unknown") if family is None else family.elsewhere
    lines = ["## In other runtimes", "", f"What was put back is in biases of attention. Of `{model_type}` models:", ""]
    lines += [f"- {RUNS[what].format(name)}" for name, what in does.items() if what in RUNS]
    lines += ["", "So their source of 2024 to 2026 says. Compare a few greedy tokens with those of Transformers first."]
    return "\n".join(lines)


def _facts(about: Mapping[str, Any]) -> list[str]:
    """How it came about, a sentence each: models, pruning, text, training."""
    facts = [f"Base model: {name_of(about.get('dense')) or 'not recorded'}."]
    pruning = about.get("pruning") or {}
    amount = pruning.get("pattern") or f"{100 * float(pruning.get('sparsity', 0)):g} %"
    source = name_of(pruning.get("calibration"))
    on = f", calibrated on {pruning['tokens']} tokens of {source}" if "tokens" in pruning else ""
    allocation = ALLOCATIONS.get(pruning.get("allocation", ""))
    layers = allocation.sentence if allocation else ""
    method = pruning.get("method")  # A foreign model has none on record, but may have a map of the heads it kept.
    facts.append(f"Pruning: {method} {amount}{layers}{on}." if method else "Pruning: not recorded.")
    if "kept_heads" in pruning:
        left = len(pruning["kept_heads"][0])
        facts.append(f"Heads: {left} of {pruning['dense_heads']} a layer are left; `kept_heads.json` says which.")
    facts += list(about.get("notes") or ())
    text, settings = about.get("calibration") or {}, about.get("settings") or {}
    if text:
        facts.append(
            f"Trained on {text.get('windows')} windows of {text.get('length')} tokens of {name_of(text.get('source'))}."
        )
        facts += list(text.get("notes") or ())
    where, way = WHERE.get(str(settings.get("where"))), WAYS.get(str(settings.get("way")))
    if settings.get("kind") == Weights.kind and where:
        facts.append(f"Trained: weights that survived pruning, {where.brief}; every zero is where it was.")
    if way and way.blocks:
        facts.append(f"Way: {way.brief}.")
    if settings:
        loss = LOSSES.get(str(settings.get("loss")))
        kept = "the last" if settings.get("keep") == "last" else "the best by held-out loss"
        trained = f"{about.get('trained_parameters')} values trained {loss.sentence if loss else ''}"
        facts += [
            f"Method: {trained}; everything else is as it was.",
            f"Training: at most {settings.get('steps')} steps of {settings.get('batch')} windows, rate "
            f"{settings.get('lr')}, seed {settings.get('seed')}; {kept} is kept.",
        ]
    return facts


def _figures(about: Mapping[str, Any]) -> str:
    """The section of what was measured, and on what."""
    figures = about["figures"]
    lines = ["## Figures", "", *_table(figures), ""]
    lines.append(f"Measured on {about.get('evaluation', 'text that is not recorded')}.")
    lines += _shares(figures)
    elsewhere = figures.get("elsewhere")
    if elsewhere:
        lines += ["", f"On {name_of(elsewhere.get('text'))}, which nothing was trained or chosen on:", ""]
        lines += [*_table(elsewhere), "", *_shares(elsewhere), *map(str, elsewhere.get("notes") or ())]
    return "\n".join(lines)


def _table(figures: Mapping[str, Any]) -> list[str]:
    """Perplexities of one text, a row a state; with distances to the dense model where they were measured."""
    states = {state: of for state, of in figures.items() if isinstance(of, Mapping) and "perplexity" in of}
    far = figures.get("kl") or {}
    lines = ["| | perplexity ± standard error | tokens |", "|---|---|---|"]
    if far:
        lines = ["| | perplexity ± standard error | KL from dense, nats per token | tokens |", "|---|---|---|---|"]
    for state, of in states.items():
        distance = " |" if far else ""
        if state in far:
            distance = f" {far[state]['nats']:.4f} ± {far[state]['stderr']:.4f} |"
        lines.append(f"| {state} | {of['perplexity']:.3f} ± {of['stderr']:.3f} |{distance} {of['tokens']} |")
    return lines


def _shares(figures: Mapping[str, Any]) -> list[str]:
    """What of the loss came back, a sentence each."""
    lines = []
    for name, error, what in (
        ("recovered_share", "share_stderr", "Recovered: {} of the log-likelihood that pruning lost."),
        ("nearer", "nearer_stderr", "Nearer: {} of the pruned model's distance to the dense one is gone."),
    ):
        share, spread = figures.get(name), figures.get(error)
        if share is not None and math.isfinite(share):
            lines.append(what.format(f"{share:.1%}" + ("" if spread is None else f" ± {spread:.1%}")))
        elif lines:
            lines.append("How far the restored model is from the dense one was not measured.")
    return lines
