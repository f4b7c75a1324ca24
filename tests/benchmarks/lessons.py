"""What the Learn page shows of the embedded pair before anything is computed, and whatever the server is busy with.

    python tests/benchmarks/lessons.py [--out assets/demo/lessons.json]

Everything is made by what the page itself computes with (`app/work/lessons.py`), so that it reads back as the same.
"""

import argparse
import json
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch
from torch import Tensor

from app.session.cache import PASSAGE
from app.values.picks import Picks
from app.work import lessons
from app.work.live import lane
from restorelcc.artifacts.findings import Recipe
from restorelcc.models.loading import DEMO_FOLDER
from restorelcc.progress import finish
from restorelcc.text.generate import generate
from restorelcc.workspace import Workspace, open_workspace

TOKENS = 60  # of each continuation
LOGITS = 256  # of the vocabulary, evenly spaced
DRAWN = 60  # tokens of a head's plane


def plain(value: Any) -> Any:
    """As JSON holds it, in as many digits as anybody reads."""
    if isinstance(value, Tensor):
        return plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value


def facts(known: lessons.Facts) -> dict[str, Any]:
    """What is known of the pair; of each head's plane as many tokens as are drawn."""
    layers, heads, _ = known.shape
    planes = {f"{layer}.{head}": asdict(known.plane((layer, head))) for layer in range(layers) for head in range(heads)}
    for plane in planes.values():
        plane |= {name: plane[name][:DRAWN] for name in ("dense", "pruned")}
    return {field.name: getattr(known, field.name) for field in fields(known)} | {"plane": planes}


def continuation(model: Any, tokenizer: Any, prompt: str) -> str:
    """The likeliest token each time."""
    ids = torch.tensor([tokenizer(prompt)["input_ids"]])
    tokens = [int(token) for token in generate(model, ids, TOKENS, 0.0, stop=tokenizer.eos_token_id)]
    return str(tokenizer.decode(tokens, skip_special_tokens=True))


def harm(prompt: str) -> dict[str, Any]:
    """What pruning to each sparsity does: to heads, to perplexity, to text."""
    found = {}
    for label in lessons.SPARSITIES:
        workspace = finish(open_workspace(replace(Recipe(), pruning=lessons.recipe_at(label).pruning)))
        pair = workspace.pair()
        found[label] = asdict(lessons.damage(workspace))
        found[label]["text"] = continuation(pair.pruned, pair.tokenizer, prompt)
        print(f"{label}: {found[label]['text']!r}", flush=True)
    return {"dense": continuation(pair.dense, pair.tokenizer, prompt), "at": found}


def put_back(workspace: Workspace, head: tuple[int, int]) -> dict[str, Any]:
    """What the first components, untrained, do to perplexity, by where and how many."""
    shape = workspace.lost.shape
    rows: dict[str, Any] = {}
    for scope in ("head", "shallow", "all"):
        for count in lessons.counts(shape[2]):
            picks = Picks(lessons.first_components(shape, scope, head, count))
            measured = lane.ask(workspace, picks, "lessons").result()
            rows.setdefault(scope, {})[count] = asdict(measured)
        print(f"{scope}: {measured.recovered}, nearer {measured.nearer}", flush=True)
    return rows


def trained(workspace: Workspace) -> dict[str, Any]:
    """What the short trainings come to."""
    found = {}
    for loss in ("kl", "ce"):
        job = lessons.training_job(workspace, loss, "")
        job.wait(3600)
        found[loss] = asdict(job.result)
    return found


def merged(workspace: Workspace) -> dict[str, Any]:
    """Hook against bias, for every factor."""
    live = workspace.findings.live
    ids, found = live.ids[0, : min(PASSAGE, int(live.real[0].sum()))], {}
    for factor in lessons.FACTORS:
        check = lessons.check_merge(workspace.pair(), workspace.lost, factor, ids)
        step = len(check.plain) // LOGITS
        found[f"{factor:g}"] = asdict(check) | {
            name: getattr(check, name)[::step] for name in ("plain", "hooked", "folded")
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DEMO_FOLDER / "lessons.json")
    args = parser.parse_args()
    workspace = finish(open_workspace(Recipe()))
    workspace.pair()
    found = {
        "facts": facts(lessons.facts(workspace)),
        "harm": harm(lessons.PROMPT),
        "put_back": put_back(workspace, lessons.facts(workspace).plainest),
        "trained": trained(workspace),
        "merged": merged(workspace),
    }
    args.out.write_text(json.dumps(plain(found), separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
