"""The command `demo`: the whole way on the embedded model."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_data_path

from ...demo.pair import DEFAULT
from ...demo.walkthrough import STATES, Walked, walk
from ...evaluation.perplexity import perplexity
from ...models.loading import Loading
from ...progress_bar import watched
from ...pruning.layerwise import Pruning
from ...restoration.settings import Settings
from ...storage.folders import check_free, check_writable
from ..console import say, show_json, show_table, shown
from .prune import pruning


def demo(
    folder: Path | None,
    source: str,
    sparsity: float | None,
    pattern: str | None,
    seed: int,
    loading: Loading,
    as_json: bool,
) -> Path:
    """The whole way on the embedded model; gives the folder of the restored checkpoint."""
    chosen = pruning(DEFAULT.method, sparsity, pattern, default=DEFAULT.sparsity)
    place = folder or user_data_path("restorelcc") / "demo-restored"
    # The default place is ours alone, so a second demo may take it over; a place the user named may not.
    if folder is None:
        check_writable(place.parent)
    else:
        check_free(folder)
    walked = watched(walk(place, chosen, source, Settings(seed=seed), loading, replace=folder is None))
    if as_json:
        show_json(walked.to_json())
    else:
        _tell(walked, chosen)
    return walked.export


def _tell(walked: Walked, chosen: Pruning) -> None:
    """The figures of every state, what it took, and where it lies."""
    dense = perplexity(walked.losses["dense"])
    rows = []
    for name in STATES:
        judged = walked.compared(name)
        change = f"{judged.gain.nats:+.4f} ± {judged.gain.stderr:.4f}"
        rows.append([name, shown(judged.restored), change, str(judged.recovered), str(judged.nearer)])
    amount = chosen.pattern or f"{chosen.sparsity:.0%}"
    title = f"Embedded model, {chosen.method} {amount}, {dense.tokens} evaluation tokens"
    show_table(title, ["", "perplexity", "nats against pruned", "recovered", "nearer"], rows)
    say(
        f"On letters, recipes and instructions, unlike all it was trained on: recovered {walked.elsewhere.recovered}, "
        f"nearer {walked.elsewhere.nearer}. Nearer: of the distance to the dense model, KL of the next token."
    )
    seconds, zeros = walked.seconds, {name: report.zeros for name, report in walked.sparsity.items()}
    say(
        f"{walked.restoration.trained_parameters} values trained; zeros in weight matrices: {zeros['pruned']} pruned, "
        f"{zeros['restored']} restored.\nPruned in {seconds['prune']:.0f} s, captured in {seconds['capture']:.0f} s, "
        f"restored in {seconds['restore']:.0f} s; {seconds['total']:.0f} s in all."
    )
    say(f"The restored checkpoint is in {walked.export}")
