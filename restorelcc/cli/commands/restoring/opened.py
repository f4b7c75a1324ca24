"""A restoration as it was asked for: its pair and texts opened, what it trains picked, and what it came to judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .... import judging
from ....artifacts.sweep_runs import JUDGED_BY
from ....capture.components import components
from ....capture.statistics import capture
from ....judging import Judged
from ....models.pair import ModelPair
from ....progress_bar import watched
from ....restoration.sweep import some_of
from ....restoration.training import Restoration, Training, directions, prepared
from ....selection.picks import Selection, share_of_heads, within_budget
from ....selection.predicted_effect import on_distance, on_loss
from ....selection.scores import ScoreInputs
from ....text.calibration import ELSEWHERE_WINDOWS, evaluation_apart, split_held_out
from ....text.tokens import Tokens
from ....workspace import Workspace, open_workspace
from ...console import note
from ...given.asked import TRAINED_ON, Asked
from ...opening import head_order, open_pair, own_score_of
from ..about import about_run

HELD_OUT = ", held out"
"""Behind the name of the text trained on: its held-out windows."""


@dataclass(frozen=True)
class Opened:
    """The pair of a restoration, and the texts that are read for it."""

    pair: ModelPair
    tokens: Tokens
    """To calibrate, train and choose the best step on."""
    elsewhere: Tokens | None
    """A second text to judge by; None where there is none, or the workspace has it."""
    workspace: Workspace | None = None
    """Where the pair is to be opened as the app does."""


def opened(asked: Asked) -> Opened:
    """Open what was asked for, and say how it was read."""
    if asked.in_app is None:
        pair, tokens = open_pair(asked.dense, asked.pruned, asked.text, asked.loading)
        return Opened(pair, tokens, second_text(asked, pair, tokens))
    workspace = watched(open_workspace(asked.in_app.recipe))
    pair = watched(workspace.loading())
    for remark in (*workspace.remarks(), *workspace.findings.notes):
        note(remark)
    return Opened(pair, workspace.findings.calibration, None, workspace)


def second_text(asked: Asked, pair: ModelPair, tokens: Tokens) -> Tokens | None:
    """The second text to judge by, in windows as long as those trained on."""
    if not asked.elsewhere:
        return None
    length, others = tokens.ids.shape[1], {"the text trained on": tokens}
    return evaluation_apart(asked.elsewhere, pair.dense, pair.tokenizer, length, ELSEWHERE_WINDOWS, others)


# --- what is trained --------------------------------------------------------------------------------------------


def picked(asked: Asked, given: Opened) -> Training:
    """The training of what is picked, by what the capture or a score says of it."""
    pair, settings, workspace = given.pair, asked.settings, given.workspace
    own = own_score_of(asked.picks.own, pair)  # Refused before what takes long.
    if workspace is None:
        training, held_out = split_held_out(given.tokens)
        statistics = watched(capture(pair, given.tokens))
        lost = components(statistics)
    else:
        training, held_out = workspace.training, workspace.held_out
        statistics, lost = workspace.findings.statistics, workspace.lost
    contrast = _contrast(asked, training)
    inputs = ScoreInputs(pair, statistics, lost, training, held_out, contrast=contrast, seed=settings.seed)
    magnitudes = None
    if asked.picks.chosen:
        selection, magnitudes, _ = asked.picks.selection()
    else:
        selection = _selected(asked, inputs, own.order() if own is not None else None)
    if workspace is not None and asked.in_app is not None:
        training, held_out = watched(judging.texts(workspace, asked.in_app.sampled, settings.seed))
    training = some_of(training, asked.share)
    if settings.positions == "last" and not training.asks.any():
        note(f"{asked.text.source} asks no questions: directions are of the last token of every window.")
    lost = watched(directions(pair, lost, training, settings))
    return watched(prepared(pair, lost, selection, training, held_out, settings, magnitudes))


def _selected(asked: Asked, inputs: ScoreInputs, order: Tensor | None) -> Selection:
    """By a budget or a share of the heads; order: [layer, head] of one's own, in place of the score."""
    picks, settings, lost = asked.picks, asked.settings, inputs.lost
    if picks.budget is not None:
        effect = watched(on_distance(inputs) if settings.loss == "kl" else on_loss(inputs))
        turns = effect.along(lost).in_turn(picks.budget)
        return within_budget(lost, picks.budget, settings.learned, -turns)
    if order is None:
        # Where all are taken no order is needed, and a score may take a while.
        order = head_order(picks.score if picks.heads < 1 else "relative_error", inputs)
    return share_of_heads(lost, order, picks.heads, picks.components)


def _contrast(asked: Asked, training: Tokens) -> str:
    """Source of the questions for probes."""
    picks = asked.picks
    if picks.contrast != TRAINED_ON or training.asks.all():
        return asked.text.source if picks.contrast == TRAINED_ON else picks.contrast
    if picks.score == "probing" and picks.heads < 1:
        note(f"{asked.text.source} asks no questions with answers, so heads are probed with those of demo.")
    return "demo"


# --- what its run says ------------------------------------------------------------------------------------------


def about(asked: Asked, given: Opened, trainer: Training) -> dict[str, Any]:
    """What is known of the run before its training."""
    pair, texts, workspace = trainer.pair, (trainer.tokens, trainer.held_out), given.workspace
    by_hand = asked.picks.selection()[2] if asked.picks.chosen else ""
    picks = {"picks": by_hand} if by_hand else {}
    if workspace is None or asked.in_app is None:
        return about_run(pair, asked.text.source, *texts, given.tokens.notes) | picks
    said = judging.about_run(workspace, pair, *texts, asked.in_app.sampled) | picks
    return said | ({"evaluation": JUDGED_BY, "judged_on": None} if asked.in_app.by_held_out else {})


def judgement(asked: Asked, given: Opened, trainer: Training, restoration: Restoration) -> Judged:
    """Dense, pruned and restored: on the held-out windows and elsewhere, or on the texts that the app judges by."""
    if given.workspace is not None and asked.in_app is not None and not asked.in_app.by_held_out:
        return watched(judging.judged(given.workspace, restoration))
    texts = trainer.held_out, given.elsewhere, asked.elsewhere
    return watched(judging.judged_by(trainer.pair, restoration, *texts, asked.loading))


def judged_by(asked: Asked) -> str:
    """What the first figures are of, for people."""
    if asked.in_app is None or asked.in_app.by_held_out:
        return f"{asked.text.source}{HELD_OUT}"
    return asked.in_app.recipe.evaluation
