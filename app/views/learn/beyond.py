"""Step 7: beyond the constant. Weights that survived learn what was lost, and how that goes wrong in closed form."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from restorelcc.artifacts.experiments import both_errors, shipped_experiments

from ...charts import learn as learn_charts
from ...session import state
from ...values.colours import colours
from ...values.words import percent, short_name
from ...widgets import neighbours
from .introduction import choice, chosen, figure, heading, keep, places, presented, term, written
from .known_figures import FIT_NAMES, WEIGHT_NAMES, measured_fits, measured_weights

TEXTS = {"there": "Stories like those trained on", "elsewhere": "Letters, recipes, instructions"}
WHAT = {"nearer": "Nearer to the dense model", "share": "Likelihood recovered"}


@st.fragment
def step() -> None:
    """Constants against weights under the mask, on text like that trained on and on other."""
    heading(7)
    left, right = places(7)
    rows = measured_weights()
    with left:
        written(
            "A constant is the same at every token, and most of what was lost is not. The weights that pruning "
            "**left** can learn more of it: trained towards the dense model with every zero kept, under "
            f"{term('Mask', 'the mask')}, they cost nothing at inference either."
        )
        where = str(
            st.segmented_control(
                "Measured on", list(TEXTS), required=True, format_func=TEXTS.__getitem__, wrap=True,
                **choice("where", list(TEXTS), "there"),
            )
        )  # fmt: skip
        what = str(
            st.segmented_control(
                "As", list(WHAT), required=True, format_func=WHAT.__getitem__, wrap=True,
                **choice("what", list(WHAT), "nearer"),
            )
        )  # fmt: skip
        st.markdown(_words(where))
        first = rows["all"]
        st.caption(
            f"Measured beforehand. The embedded pair, Wanda 60 %: all heads, {first['tokens']:,} tokens with repeats, "
            f"distillation, {first['seeds']} seeds; {_numbers()}. Lines are one standard error."
        )
    with right:
        figures = {WEIGHT_NAMES[name]: rows[name][f"{what} {where}"] for name in WEIGHT_NAMES}
        _bars("learn-weights", figures, "share of the distance gone" if what == "nearer" else learn_charts.RECOVERED)
    if not presented():
        _closed_form()
        _neighbours()


def _words(where: str) -> str:
    """What the figures of a text say."""
    rows = measured_weights()
    near, share = ({name: percent(rows[name][f"{kind} {where}"][0]) for name in rows} for kind in ("nearer", "share"))
    error = max(rows[name][f"share {where}"][1] for name in rows)
    words = (
        f"Constants bring the model **{near['constants']}** of the way to the dense one, output projections "
        f"**{near['output']}**, whole layers **{near['all']}**. Of the lost likelihood they recover "
        f"{share['constants']}, {share['output']} and {share['all']} (± {percent(error)})."
    )
    if where == "elsewhere":
        words += " Nothing here was trained on such text: likelihood is noisy on it, and the distance is not."
    return words


def _numbers() -> str:
    return ", ".join(
        f"{rows['values']:,} numbers for {WEIGHT_NAMES[name]}" for name, rows in measured_weights().items()
    )


def _closed_form() -> None:
    """The lesson of the fit that is best by its own measure."""
    st.markdown("##### Why train, if a fit can be computed?")
    left, right = st.columns([5, 7], gap="large")
    facts = measured_fits()
    fits = facts["fits"]
    first = fits["masked"]
    dense, pruned, fitted = first["there"]["perplexity"]
    nearer, error = first["there"]["nearer"]
    with left:
        written(
            "Every output projection can be fitted in closed form: the least-squares map from what the pruned heads "
            f"compute to what attention writes in the dense model ({term('Ridge regression')}). With every zero kept "
            f"it takes the squared error of the layer’s output from {percent(facts['error'])} to "
            f"**{percent(first['error'])}** on text that it was not fitted on."
        )
        st.markdown(_fit_verdict(nearer, error, pruned, fitted, dense))
        ordered, ordered_error = fits["masked, in order"]["there"]["nearer"]
        st.markdown(
            "Fitted in order, each layer with those below in place, the model is "
            f"{percent(abs(ordered))} ± {percent(ordered_error)} {'nearer' if ordered >= 0 else 'further away'}: that "
            "mends one of the two reasons."
        )
        st.caption(
            f"Measured beforehand, on {facts['tokens']:,} tokens; fitted on {facts['fitted_on']:,}. Lines are one "
            "standard error."
        )
    with right:
        figures = {f"{FIT_NAMES[name]}: error {percent(fits[name]['error'])}": tuple(fits[name]["there"]["nearer"])
                   for name in FIT_NAMES}  # fmt: skip
        _bars("learn-closed-form", figures, "share of the distance gone")


def _fit_verdict(nearer: float, error: float, pruned: float, fitted: float, dense: float) -> str:
    """What the fit does to the model, in words."""
    said = f"perplexity {pruned:.2f} → **{fitted:.2f}** (dense {dense:.2f})"
    if nearer < -2 * error:
        return (
            f"And yet the model gets **worse**: {percent(-nearer)} ± {percent(error)} further from the dense one, "
            f"{said}. A layer’s output is not the model’s: what squared error counts as large, the layers above may "
            "not read, and each fit takes what is below it as it was. So the weights are trained through the whole "
            "network, towards what it says."
        )
    return f"The model comes {percent(nearer)} ± {percent(error)} nearer to the dense one, {said}."


def _neighbours() -> None:
    """What else repairs a pruned model, on equal budget."""
    experiments = {"{} → {}".format(*map(short_name, found.pair)): found for found in shipped_experiments()}
    if not experiments:
        return
    st.markdown("##### Against its neighbours")
    pair = next(iter(experiments))
    if len(experiments) > 1:
        pair = str(
            st.segmented_control(
                "Pair", list(experiments), required=True, wrap=True, **choice("pair", list(experiments), pair)
            )
        )
    found = experiments[pair]
    written(_ranked(found.table()))
    st.caption(f"Measured beforehand. {neighbours.about(found)}")
    neighbours.table(found, "learn-neighbours")
    share = chosen("share", list(neighbours.WHAT), "nearer")
    share = neighbours.switch("learn-share", share, lambda name: keep("share", "" if name == "nearer" else name))
    neighbours.picture(found, "learn-neighbours-picture", share)


def _ranked(table: pd.DataFrame) -> str:
    """Which comes nearest of what keeps every zero, and of what does not, as Markdown."""
    rows = table.assign(error=both_errors(table, "nearer")).dropna(subset=["nearer"]).to_dict(orient="records")
    said = []
    for what, some in (
        ("every zero in its place", [row for row in rows if not row["kept"] < 1]),
        ("zeros filled", [row for row in rows if row["kept"] < 1]),
    ):
        if some:
            best = max(some, key=lambda row: float(row["nearer"]))
            share, error = percent(best["nearer"]), percent(best["error"])
            said.append(
                f"with {what} **{best['title']}** comes nearest to the dense model ({share} ± {error}, "
                f"{best['trained']:,} numbers)"
            )
    return (
        "Others repair pruned models too: by low rank, by norms and biases, or by solving for weights. On the same "
        f"text, steps and seeds, {'; '.join(said)}. What fills zeros gives up what pruning was for, or keeps products "
        "beside the weights that cost every token."
    )


def _bars(key: str, figures: dict[str, tuple[float, float]], title: str) -> None:
    rows = [(name, value) for name, (value, _) in figures.items()]
    errors = [error for _, error in figures.values()]
    best = max(rows, key=lambda row: row[1])[0]
    figure(
        learn_charts.shares(rows, colours(state.dark()), (best,), errors, title),
        key,
        f"{title.capitalize()}: " + ", ".join(f"{name} {percent(share)}" for name, share in rows) + ".",
        pd.DataFrame(rows, columns=["what", "share"]).assign(stderr=errors),
    )
