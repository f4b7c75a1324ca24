"""What longer trainings showed, below step 5: figures that are not computed here, each with where it is from."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import streamlit as st

from ...charts import learn as learn_charts
from ...session import state
from ...values.colours import colours
from ...values.words import percent, signed
from .introduction import choice, figure
from .known_figures import (
    PAPER,
    STRATEGY_NAMES,
    TEACHER_NAMES,
    Figures,
    Judged,
    measured_strategies,
    measured_teachers,
    published_shares,
)

NEARER = "share of the distance gone"
VIEWS = {
    "heads": "Heads",
    "nearer": "Heads: distance",
    "teachers": "Teacher",
    "teachers_nearer": "Teacher: distance",
    **{name: f"Paper: {name}" for name in PAPER},
}

MISLEADS = (
    "A quarter of the heads, chosen by different rules and trained alike. **The largest loss is not the one most "
    "worth repairing**: "
)


@dataclass(frozen=True)
class _Facts:
    """What one view draws and says."""

    rows: list[tuple[str, float]]
    """(name, share)."""
    errors: list[float] | None
    """The standard error of each, where it is known."""
    words: str
    """What the figures teach, as Markdown."""
    source: str
    """Where the figures are from."""
    title: str = learn_charts.RECOVERED


def section() -> None:
    """The control that chooses a view, its words, and its bars."""
    st.markdown("##### What longer trainings showed")
    left, right = st.columns([5, 7], gap="large")
    with left:
        view = st.segmented_control(
            "Not computed here",
            list(VIEWS),
            required=True,
            format_func=VIEWS.__getitem__,
            wrap=True,
            **choice("facts", list(VIEWS), "heads"),
        )
        facts = _facts(str(view))
        st.markdown(facts.words)
        st.caption(facts.source)
    with right:
        rows, best = facts.rows, max(facts.rows, key=lambda row: row[1])[0]
        frame = pd.DataFrame(rows, columns=["what", "share"])
        figure(
            learn_charts.shares(rows, colours(state.dark()), (best,), facts.errors, facts.title),
            "learn-facts-chart",
            f"{facts.title.capitalize()}: " + ", ".join(f"{name} {share:.0%}" for name, share in rows) + ".",
            frame if facts.errors is None else frame.assign(stderr=facts.errors),
        )


def _facts(view: str) -> _Facts:
    if view in ("teachers", "teachers_nearer"):
        return _teachers(view)
    if view in ("heads", "nearer"):
        return _strategies(view)
    dense, pruned, _ = PAPER[view]
    return _Facts(
        published_shares(view),
        None,
        f"LLaMA-7B on WikiText-2: pruning took perplexity from {dense:.2f} to {pruned:.2f}. Bars are what each method "
        "won back of that. LoRA, DoRA and EoRA add low-rank matrices, which fill the zeros once they are merged.",
        "Perplexities published by Feng et al.; shares computed from them.",
    )


def _teachers(view: str) -> _Facts:
    facts, judged = measured_teachers()
    figures = judged.nearer if view == "teachers_nearer" else judged.shares
    return _Facts(
        [(TEACHER_NAMES[name], figures[name][0]) for name in TEACHER_NAMES],
        [figures[name][1] for name in TEACHER_NAMES],
        _teachers_by_distance(figures) if view == "teachers_nearer" else _teachers_by_likelihood(figures),
        f"Measured by us. {facts['pair']}: constants in all heads, {facts['steps']} steps, {facts['windows']} windows "
        f"of {facts['length']} tokens, {facts['tokens']:,} evaluation tokens, one seed. Lines are one standard error; "
        "all share their text, so differences err less.",
        NEARER if view == "teachers_nearer" else learn_charts.RECOVERED,
    )


def _teachers_by_distance(figures: Figures) -> str:
    share = _written(figures)
    return (
        "Who teaches, judged by the distance between the distributions of the next token, which the text’s own "
        f"tokens do not enter. Means put back untrained bring the model {share['injected']} of the way to the dense "
        f"one, layer after layer {share['injected_in_order']}; training towards it {share['kl_given']}, and on text "
        f"that the dense model writes itself {share['kl_own']}. Cross-entropy comes {share['ce_own']} of the way on "
        f"the model’s own text and {share['ce_given']} on given text. Below 0 is further away than the pruned model."
    )


def _teachers_by_likelihood(figures: Figures) -> str:
    share = _written(figures)
    words = (
        f"Means put back untrained recover {share['injected']}, layer after layer {share['injected_in_order']}; "
        f"training towards the dense model {share['kl_given']}. That works even on text that the dense model writes "
        f"itself, so without any: {share['kl_own']}. Cross-entropy recovers {share['ce_own']} on the model’s own text, "
        f"in which it finds less to learn, and {share['ce_given']} on given text."
    )
    if figures["ce_given"][0] > 1:
        words += (
            " That is more than was lost: it has learned how this author writes, which pruning never took, and "
            "which the evaluation text, by the same author, rewards. **By the distance it is the other way "
            "round**: look at *Teacher: distance*."
        )
    return words


def _strategies(view: str) -> _Facts:
    facts, texts = measured_strategies()
    judged = texts[_judge(list(texts))]
    figures = judged.nearer if view == "nearer" else judged.shares
    best_first = sorted(STRATEGY_NAMES, key=lambda name: -figures[name][0])
    return _Facts(
        [(STRATEGY_NAMES[name], figures[name][0]) for name in best_first],
        [figures[name][1] for name in best_first],
        _strategies_by_distance(figures) if view == "nearer" else _strategies_by_likelihood(figures),
        f"Measured by us. {facts['pair']}: {facts['heads']} of {facts['of']} heads, {facts['steps']} steps of "
        f"distillation, means over {facts['seeds']} seeds, {judged.tokens:,} tokens. Lines are one standard error. "
        f"{_overlapping(judged, 'nearer' if view == 'nearer' else 'shares', best_first)}",
        NEARER if view == "nearer" else learn_charts.RECOVERED,
    )


def _overlapping(judged: Judged, kind: str, best_first: list[str]) -> str:
    """Of the first rule and the one nearest to the middle, whose lines overlap: whether they differ, paired."""
    rules = [name for name in best_first if name != "random"]  # which was drawn several times a seed
    first, other = rules[0], rules[len(rules) // 2]
    difference, error = judged.paired(kind, first, other)
    clear = "clear" if abs(difference) > 2 * error else "within noise"
    return (
        "Where lines overlap the rules may differ all the same, since they share text and seeds. Paired by seed, "
        f"{STRATEGY_NAMES[first]} minus {STRATEGY_NAMES[other]} is {signed(100 * difference, 1)} ± {100 * error:.1f} "
        f"points, which is {clear}."
    )


def _judge(texts: list[str]) -> str:
    """The text that strategies are judged by, and the control that chooses it."""
    text = st.segmented_control(
        "Judged by",
        texts,
        required=True,
        wrap=True,
        help="Nothing was trained on either. The stories that come with the app are by the author of the "
        "calibration text, and what constants learn of an author counts there as recovered.",
        **choice("judge", texts, texts[0]),
    )
    return str(text)


def _strategies_by_distance(figures: Figures) -> str:
    share = _written(figures)
    return (
        f"{MISLEADS}heads of largest relative error bring the model {share['relative_error']} of the way to the "
        f"dense one, heads drawn at random {share['random']}. This distance is what was trained, and it errs less "
        f"than the likelihood of a text. Heads taken in turn by what they are predicted to do to it together bring "
        f"the model {share['together_dense']} of the way, by what each does alone {share['towards_dense']}, by probe "
        f"accuracy, the paper’s rule, {share['probing']}, all heads {share['all_heads']}."
    )


def _strategies_by_likelihood(figures: Figures) -> str:
    share = _written(figures)
    return (
        f"{MISLEADS}heads of largest relative error recover {share['relative_error']}, heads drawn at random "
        f"{share['random']}. Deep heads show losses that began further down, and heads repeat one another: what two "
        "of them can repair is often the same shift of the whole output, of which this pair lost much, so that "
        "many choices do nearly as well. Taken in turn by what they are predicted to do together, they recover "
        f"{share['together_dense']}, where that is the distance to the dense model, and {share['together']} where it "
        f"is the likelihood of the calibration text; by probe accuracy, the paper’s rule, {share['probing']}; all "
        f"heads {share['all_heads']}."
    )


def _written(figures: Figures) -> dict[str, str]:
    """Shares in per cent, by name."""
    return {name: percent(value) for name, (value, _) in figures.items()}
