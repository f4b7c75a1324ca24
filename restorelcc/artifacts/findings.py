"""What is known of a pair without its models at hand, and its place in the user's cache.

Kept for pairs made from the embedded model: everything they depend on is known without opening anything, and what was
found can be shown a second later.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from platformdirs import user_cache_path
from safetensors.torch import load_file, save_file
from torch import Tensor

from .. import __version__
from ..capture.statistics import MEANS, HeadStatistics, Samples
from ..errors import LoadError, SettingError, WriteError
from ..evaluation.perplexity import TokenLoss
from ..foreign import check_regular, foreign
from ..hf.layout import HeadGeometry
from ..models.loading import DEMO, DISK, MAP, SHARD, Loading, source_of
from ..processes import by_the_first
from ..pruning.layerwise import Pruning
from ..pruning.sparsity import MatrixSparsity, SparsityReport
from ..storage.digests import check_seal, seal
from ..storage.folders import whole
from ..storage.formats import FORMAT, read_json, write_json
from ..text import sources
from ..text.tokens import Tokens
from .provenance import code_digest

FACTS, TENSORS = "findings.json", "findings.safetensors"
PRUNING = Pruning("wanda", 0.6)
LIVE_TOKENS = 6_144  # about half a second of the embedded model's time on two cores
LIVE_WINDOW = 256
TEXTS = ("dense", "pruned", "calibration", "evaluation", "elsewhere")
NUMBERS = ("windows", "captured", "evaluated", "length")
"""Of a recipe, what is text, and what is a number."""


@dataclass(frozen=True)
class Recipe:
    """Everything that a pair and what is found of it depend on. Hashable, so that it can be a cache key."""

    dense: str = DEMO
    """Hub id, folder, or `demo`."""
    pruned: str | None = None
    """Hub id or folder; None: prune the dense model here, as `pruning` says."""
    pruning: Pruning = PRUNING
    """At its default where `pruned` is given, as it decides nothing there: equal pairs are of equal recipes."""
    calibration: str = sources.DEMO
    """Source of the text that prunes, captures and trains (see `text`)."""
    evaluation: str = sources.DEMO
    """Source of the text that perplexities are of."""
    elsewhere: str = sources.EVERYDAY
    """Source of a second text that restorations are judged on, and nothing is made or chosen with."""
    windows: int = 96
    """Windows of calibration text, at most."""
    captured: int = 24
    """Windows of it that head activations are read from."""
    evaluated: int = 128
    """Windows of evaluation text in the full set, at most."""
    length: int | None = None
    """Tokens a window; None: the model's context, up to 2 048."""
    in_order: bool = False
    """Measure every layer with the mean losses of those below put back (see `in_order`), instead of all at once."""
    loading: Loading = field(default_factory=Loading)
    """With the device by its one name: `auto`, `cuda` and `cuda:0` may be the same."""
    stamp: str = ""
    """What the files that it names were when they were opened (see `workspace.stamp_of`); empty: not looked at."""

    def __post_init__(self) -> None:
        for name in ("captured", "evaluated"):
            if getattr(self, name) < 1:
                raise SettingError(f"{name} is {getattr(self, name)}, but at least 1 window is needed.")
        if self.windows < 2:
            raise SettingError(
                f"{self.windows} calibration windows are too few: at least 2 are needed, one to train on and one to "
                "judge by."
            )
        if self.length is not None and self.length < 2:
            raise SettingError(f"Windows of {self.length} tokens predict nothing: at least 2 tokens are needed.")
        if self.pruned is not None:
            object.__setattr__(self, "pruning", PRUNING)
        if self.loading.device not in (MAP, DISK, SHARD):
            device = self.loading.resolved_device()
            object.__setattr__(self, "loading", replace(self.loading, device=device))


def recipe_written(recipe: Recipe) -> dict[str, str]:
    """A recipe as a few words of text, for links and for runs that are kept: what is not at its default. Permission to
    run foreign code is never among them: neither a link nor a run grants it."""
    plain = Recipe()
    link = {
        name: str(getattr(recipe, name))
        for name in (*TEXTS, *NUMBERS)
        if getattr(recipe, name) != getattr(plain, name) and getattr(recipe, name) is not None
    }
    if recipe.pruned is None and recipe.pruning != plain.pruning:
        link["method"] = recipe.pruning.method
        link["prune"] = recipe.pruning.pattern or str(recipe.pruning.sparsity)
        if recipe.pruning.allocation != plain.pruning.allocation:
            link["allocation"] = recipe.pruning.allocation
    if recipe.in_order:
        link["in_order"] = "1"
    for name in ("device", "dtype"):
        if getattr(recipe.loading, name) != getattr(plain.loading, name):
            link[name] = getattr(recipe.loading, name)
    if recipe.loading.revision:
        link["revision"] = recipe.loading.revision
    return link


def recipe_read(link: Mapping[str, str]) -> Recipe:
    """What `recipe_written` wrote. Raises SettingError for what makes no sense, ValueError and TypeError for what is
    none."""
    given: dict[str, Any] = {name: link[name] for name in TEXTS if name in link}
    given |= {name: int(link[name]) for name in NUMBERS if name in link}
    loading = Loading(link.get("device", "auto"), link.get("dtype", "auto"), link.get("revision"))
    recipe = Recipe(**given, in_order=link.get("in_order") == "1", loading=loading)
    amount = link.get("prune")
    if amount is None:
        return recipe
    method = link.get("method", recipe.pruning.method)
    layers = link.get("allocation", recipe.pruning.allocation)
    share = {"pattern": amount} if ":" in amount else {"sparsity": float(amount)}
    return replace(recipe, pruning=Pruning(method, allocation=layers, **share))


@dataclass(frozen=True)
class Size:
    """How large a model is, in numbers."""

    parameters: int
    nonzero: int


@dataclass(frozen=True)
class Findings:
    """What was found of a pair."""

    geometry: HeadGeometry
    dense_name: str
    pruned_name: str
    dense_size: Size
    pruned_size: Size
    sparsity: SparsityReport
    """Of the pruned model."""
    calibration: Tokens
    evaluation: Tokens
    """The full set."""
    live: Tokens
    """A small fixed part of the evaluation text, cut into short windows, for quick perplexities."""
    statistics: HeadStatistics
    """Of the first windows of the calibration text."""
    live_dense: TokenLoss
    live_pruned: TokenLoss
    gone: str = ""
    """What is known of heads that the pruned model lacks, in a sentence; empty where it has them all."""
    notes: tuple[str, ...] = ()
    """How the texts were read, and what of them was left out, a sentence each."""


def kept_findings(recipe: Recipe) -> Findings | None:
    """What `keep_findings` kept for this recipe, or None; a damaged folder counts as none."""
    if not _keepable(recipe):
        return None
    try:
        return load_findings(_place(recipe))
    except LoadError:
        return None


def is_kept(recipe: Recipe) -> bool:
    """Whether `kept_findings` has something of this recipe to read."""
    return _keepable(recipe) and (_place(recipe) / FACTS).is_file()


def keep_findings(recipe: Recipe, findings: Findings) -> None:
    """Keep in the user's cache, where that makes sense. A cache that cannot be written to costs time, no more."""
    if _keepable(recipe):
        with contextlib.suppress(WriteError):
            save_findings(_place(recipe), findings)


def _keepable(recipe: Recipe) -> bool:
    """Whether a recipe alone decides what is found: what others wrote, on disk or on the hub, may change under it."""
    return (
        recipe.dense == DEMO
        and recipe.pruned is None
        and {recipe.calibration, recipe.evaluation} <= {DEMO, sources.SELF}
    )


def _place(recipe: Recipe) -> Path:
    """Named by all that decides what is found: the recipe, the embedded weights and texts, the code."""
    decisive = (recipe, recipe.loading.resolved_device(), LIVE_TOKENS, LIVE_WINDOW, __version__, torch.__version__)
    digest = hashlib.sha256(repr((*decisive, code_digest())).encode())
    texts = [sources.ASSETS / f"{purpose}.txt" for purpose in ("calibration", "evaluation")]
    for path in (Path(source_of(DEMO)) / "model.safetensors", *texts):
        digest.update(path.read_bytes())
    return user_cache_path("restorelcc") / "findings" / digest.hexdigest()[:16]


# --- on disk ----------------------------------------------------------------------------------------------------


@by_the_first
def save_findings(folder: Path, findings: Findings) -> None:
    """Two files and their digests, whole or not at all. Raises WriteError."""
    statistics = findings.statistics
    tensors: dict[str, Tensor] = {f"statistics.{name}": getattr(statistics, name) for name in MEANS}
    for name, part in (
        ("samples", statistics.samples),
        ("calibration", findings.calibration),
        ("evaluation", findings.evaluation),
        ("live", findings.live),
    ):
        values = {field.name: getattr(part, field.name) for field in fields(part)}
        tensors |= {f"{name}.{key}": value for key, value in values.items() if isinstance(value, Tensor)}
    tensors["present"] = statistics.present
    tensors |= {"dense.nll": findings.live_dense.nll, "pruned.nll": findings.live_pruned.nll}
    facts = {
        "format": FORMAT,
        "geometry": asdict(findings.geometry),
        "names": [findings.dense_name, findings.pruned_name],
        "sizes": [asdict(findings.dense_size), asdict(findings.pruned_size)],
        "sparsity": [asdict(matrix) for matrix in findings.sparsity.matrices],
        "positions": statistics.positions,
        "count": statistics.count,
        "gone": findings.gone,
        "notes": list(findings.notes),
    }
    with whole(folder, replace=True) as draft:
        # Copies: safetensors refuses tensors that share memory, as `scored` and `response` of plain text do.
        save_file({name: value.clone().contiguous() for name, value in tensors.items()}, draft / TENSORS)
        write_json(draft / FACTS, facts)
        seal(draft)


def load_findings(folder: Path) -> Findings:
    """What `save_findings` wrote. Raises LoadError, also where a single bit of it is another one."""
    check_seal(folder)
    facts = read_json(folder / FACTS, "findings")
    with foreign(lambda reason: LoadError(f"The findings in {folder} are damaged ({reason}). Delete the folder.")):
        check_regular(folder / TENSORS)
        return _built(facts, load_file(folder / TENSORS))


def _built(facts: dict[str, Any], tensors: Mapping[str, Tensor]) -> Findings:
    """From what the two files hold; `part`: tensors whose names begin so."""

    def part(name: str) -> dict[str, Tensor]:
        return {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith(f"{name}.")}

    def read(name: str) -> Tokens:
        ids, real, scored, response = (tensors[f"{name}.{key}"] for key in ("ids", "real", "scored", "response"))
        return Tokens(ids, real, scored, response)

    geometry = HeadGeometry.read(facts["geometry"])
    live = read("live")
    return Findings(
        geometry=geometry,
        dense_name=facts["names"][0],
        pruned_name=facts["names"][1],
        dense_size=Size(**facts["sizes"][0]),
        pruned_size=Size(**facts["sizes"][1]),
        sparsity=SparsityReport(tuple(MatrixSparsity(**row) for row in facts["sparsity"])),
        calibration=read("calibration"),
        evaluation=read("evaluation"),
        live=live,
        statistics=HeadStatistics(
            geometry,
            facts["positions"],
            facts["count"],
            present=tensors["present"],
            samples=Samples(**part("samples")),
            **part("statistics"),
        ),
        live_dense=TokenLoss(tensors["dense.nll"], live.scored),
        live_pruned=TokenLoss(tensors["pruned.nll"], live.scored),
        gone=facts["gone"],
        notes=tuple(facts.get("notes", ())),
    )
