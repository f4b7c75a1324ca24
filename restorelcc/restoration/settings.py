"""How a restoration is trained: settings, and the presets that people begin with."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..errors import SettingError
from ..registry import Choice, chosen, markdown, table
from .choices import KEEPS, LOSSES, POSITIONS, PRECISIONS, STARTS, TRAINED, UNITS, WAYS, WHERE

MOST_STEPS, MOST_BATCH = 10_000_000, 4_096
"""Beyond these a slip of the keyboard would train for years, or fill the memory before the first step."""


@dataclass(frozen=True)
class Settings:
    """How to train. Defaults were found on embedded pairs (README, Training defaults); the paper's own: `PUBLISHED`."""

    loss: str = "kl"
    """What is minimised, of `LOSSES`."""
    lr: float = 0.2
    """Peak learning rate of AdamW, in `unit` a step."""
    bounded: bool = False
    """Lower the rate before the start where its first step would overshoot (see `bounded`), as on models of many
    heads. What is trained has the rate that came of it, and False here."""
    unit: str = "loss"
    """What the rate is counted in, of `UNITS`."""
    steps: int = 200
    """Optimiser steps at most."""
    batch: int = 8
    """Texts a step."""
    warm_up: float = 0.05
    """Share of the steps over which the rate rises from zero."""
    cool_down: float = 0.95
    """Share of the steps, the last ones, over which it falls to zero."""
    start: str = "zero"
    """Where β and b start from, of `STARTS`."""
    learned: bool = True
    """Train the learned component b beside β."""
    seed: int = 0
    evaluate_every: int = 10
    """Steps between perplexities of the held-out texts."""
    patience: int | None = None
    """Stop after so many evaluations without a better one; None: never."""
    teacher_bytes: int = 2**30
    """Memory for the dense model's logits, so that each text passes through it once; beyond it they are recomputed."""
    kind: str = "constants"
    """What is trained: a kind of compensation, of `TRAINED`."""
    where: str = "output"
    """Of weights: which of them, of `WHERE`."""
    constants: bool = False
    """Of weights: train constants beside them. They fold into biases, which not every architecture has."""
    way: str = "whole"
    """How training goes through the model, of `WAYS`."""
    epochs: float = 0.0
    """Passes over the texts, in place of `steps`, which become as many as they take (see `counted`); 0: steps say."""
    short_batch: bool = False
    """An epoch ends with the texts that are left, however few; otherwise the next one fills the batch."""
    clip: float = 0.0
    """Norm that the gradient of all that is trained is cut down to, in the numbers that the optimiser moves; 0: never.
    """
    precision: str = "float32"
    """What β and b are held and moved in, of `PRECISIONS`."""
    keep: str = "best"
    """Which step is kept, of `KEEPS`."""
    positions: str = "all"
    """Which tokens the components are taken from that are trained along, of `POSITIONS`."""

    def __post_init__(self) -> None:
        if self.kind not in TRAINED:
            raise SettingError(f"'{self.kind}' cannot be trained: give one of {', '.join(sorted(TRAINED))}.")
        chosen(self.where, WHERE, "Where")
        chosen(self.way, WAYS, "Way")
        chosen(self.loss, LOSSES, "Loss")
        chosen(self.start, STARTS, "Start")
        chosen(self.unit, UNITS, "Unit")
        chosen(self.keep, KEEPS, "Step to keep")
        chosen(self.positions, POSITIONS, "Positions")
        if chosen(self.precision, PRECISIONS, "Precision").name != Settings.precision and self.kind != Settings.kind:
            raise SettingError(f"What is kept as {self.kind} is trained in float32 alone: leave the precision at that.")
        for name, most in (("epochs", MOST_STEPS), ("clip", math.inf)):
            if not 0 <= getattr(self, name) <= most:
                raise SettingError(f"{name} is {getattr(self, name)}: give a number above 0, or 0 for none.")
        if not 0 < self.lr < 10:
            raise SettingError(
                f"A learning rate of {self.lr} makes no sense: try 0.2; it must be above 0 and below 10."
            )
        for name, most in (("steps", MOST_STEPS), ("batch", MOST_BATCH), ("evaluate_every", MOST_STEPS)):
            if not 1 <= getattr(self, name) <= most:
                raise SettingError(f"{name} is {getattr(self, name)}: at least 1 is needed, and {most:,} are the most.")
        if WAYS[self.way].solves and self.kind == Settings.kind:
            raise SettingError("Constants are not solved for: train weights, or choose another way through the model.")
        if self.patience is not None and self.patience < 1:
            raise SettingError(f"A patience of {self.patience} would stop at once: give 1 or more evaluations.")
        if min(self.warm_up, self.cool_down) < 0 or self.warm_up + self.cool_down > 1:
            raise SettingError(
                f"Warm-up {self.warm_up} and cool-down {self.cool_down} are shares of the steps: 0 or more, "
                "and at most 1 together."
            )

    @property
    def kinds(self) -> list[str]:
        """Of what is put back: `kind`, and constants where they ride along."""
        return list(dict.fromkeys([self.kind, *([Settings.kind] if self.constants else [])]))

    @property
    def by_blocks(self) -> int:
        """Steps that train one layer after the other; those after them go through the whole network."""
        return round(WAYS[self.way].blocks * self.steps)

    @property
    def by_layer(self) -> bool:
        """Whether the first steps are of one layer each."""
        return self.by_blocks > 0 or WAYS[self.way].solves

    def counted(self, texts: int) -> Settings:
        """The settings with as many steps as their epochs take over so many texts. Raises SettingError where these are
        too many."""
        if not self.epochs:
            return self
        each = math.ceil(texts / self.batch) if self.short_batch else texts / self.batch
        return replace(self, steps=max(1, round(self.epochs * each)))

    def rate(self, step: int, solved: int = 0) -> float:
        """Learning rate of a step, counted from 0: it rises and falls once by blocks and once through the network,
        there to a share of the peak where layers were trained or solved for before (see `Way.after`). solved: the first
        steps, which solve for weights and have none."""
        first, last = (0, self.by_blocks) if step < self.by_blocks else (self.by_blocks or solved, self.steps)
        rise = (step - first + 1) / max(1.0, self.warm_up * (last - first))
        fall = (last - step) / max(1.0, self.cool_down * (last - first))
        share = WAYS[self.way].after if first else 1.0
        return self.lr * share * min(1.0, rise, fall)


DEFAULTS = Settings(bounded=True)
"""Where nothing else is said."""
PUBLISHED = Settings(loss="response", lr=1e-3, unit="activation", warm_up=0.0, cool_down=1.0, start="noise", seed=42)
"""The published schedule, for any number of steps: cross-entropy on the response, lr 1e-3 that falls to zero, β and b
~ N(0, 1e-3), batch 8, seed 42 (Feng et al.)."""


@dataclass(frozen=True, kw_only=True)
class Preset(Choice):
    """Settings to begin with, and which heads they are for."""

    settings: Settings
    heads: float
    """Share of all heads."""
    score: str
    """Which of them: first by this score, of `selection.scores.SCORES`."""
    contrast: str = "demo"
    """Source of the questions that `probing` asks; `calibration`: the text that is trained on, where it asks any."""
    differs: str = ""
    """What is still not as in the code that it stands for; Markdown."""


PRESETS = table(
    Preset(
        name="ours",
        title="Defaults",
        brief="what is taken where nothing else is said",
        settings=DEFAULTS,
        heads=1.0,
        score="together_dense",
    ),
    Preset(
        name="paper",
        title="As published",
        brief="what the paper's public code does",
        definition="What the public code of Feng et al. does: AdamW at 0.001 on β and b in activation units and "
        "bfloat16, from noise, gradients clipped at 1, three passes in batches of 8, the last step kept, directions "
        "from the last token of every question.",
        settings=replace(
            PUBLISHED, epochs=3.0, short_batch=True, clip=1.0, precision="bfloat16", keep="last", positions="last"
        ),
        heads=0.25,
        score="probing",
        contrast="calibration",
        differs="Still not as there: text and precision of the models are yours to give (theirs: 2 000 rows of Alpaca "
        "of 500 tokens, bfloat16 models); a tenth of the text is held out, draws the curve and chooses nothing; all "
        "texts that are trained on give directions, where theirs are of the first 1 000, in half precision; wrong "
        "answers are the most similar ones by TF-IDF, where theirs are by sentence embeddings, and probes are fitted "
        "to the end, where theirs take 200 steps; random numbers are others. On text without questions, the loss is "
        "of all its tokens, and directions are of the last token of every window.",
    ),
)


def presets_table() -> str:
    """README's, in Markdown: what the two do, beside each other."""
    ours, paper = PRESETS["ours"], PRESETS["paper"]
    rows = [
        ("how long", "`--steps`, `--epochs`", *(_long(row.settings) for row in (ours, paper))),
        ("what is minimised", "`--loss`", *(LOSSES[row.settings.loss].brief for row in (ours, paper))),
        ("batch", "`--batch`", *(f"{row.settings.batch}" for row in (ours, paper))),
        ("rate", "`--lr`, `--unit`", *(_rate(row.settings) for row in (ours, paper))),
        ("its schedule", "`--warm-up`, `--cool-down`", *(_schedule(row.settings) for row in (ours, paper))),
        ("β and b start from", "`--start`", *(STARTS[row.settings.start].brief for row in (ours, paper))),
        ("they are held in", "`--precision`", ours.settings.precision, paper.settings.precision),
        ("gradients are clipped", "`--clip`", *(f"at {at:g}" if (at := row.settings.clip) else "never"
                                                for row in (ours, paper))),
        ("a last, short batch", "`--short-batch`", *("is a step of its own" if row.settings.short_batch else
                                                     "is filled from the next epoch" for row in (ours, paper))),
        ("the step that is kept", "`--keep`", *(KEEPS[row.settings.keep].brief for row in (ours, paper))),
        ("directions are of", "`--positions`", *(POSITIONS[row.settings.positions].brief for row in (ours, paper))),
        ("heads", "`--heads`, `--score`", *(f"{100 * row.heads:g} %" + (f", by `{row.score}`" if row.heads < 1 else "")
                                            for row in (ours, paper))),
        ("questions of the probe", "`--contrast`", "those of `demo`", "of the text that is trained on"),
        ("seed", "`--seed`", f"{ours.settings.seed}", f"{paper.settings.seed}"),
    ]  # fmt: skip
    plain = [[cell.replace(", as published", "") for cell in row] for row in rows]
    return markdown(("", "option", "ours", "public code: `--preset paper`"), plain)


def _long(settings: Settings) -> str:
    return f"{settings.epochs:g} epochs" if settings.epochs else f"{settings.steps} steps"


def _rate(settings: Settings) -> str:
    lowered = ", lowered where it would overshoot" if settings.bounded else ""
    return f"{settings.lr:g}, in {UNITS[settings.unit].brief}{lowered}"


def _schedule(settings: Settings) -> str:
    rises = f"rises for {100 * settings.warm_up:g} % of the steps, " if settings.warm_up else ""
    return f"{rises}falls to zero over {100 * settings.cool_down:g} %"
