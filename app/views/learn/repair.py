"""Sections of the Learn page: what can be put back (steps 4 to 6)."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from restorelcc.errors import RestoreLCCError
from restorelcc.restoration.training import Loss
from restorelcc.workspace import Workspace

from ...charts import common as charts
from ...charts import learn as learn_charts
from ...session import cache, state
from ...values.colours import colours
from ...values.pages import PAGES
from ...values.picks import Picks
from ...values.words import Word, head_name, signed
from ...widgets import controls, feedback
from ...work import lessons
from ...work.jobs import State, jobs
from ...work.live import Superseded, lane
from ..learn import facts
from .steps import MAP, step

Head = tuple[int, int]
COUNTS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)
SCOPES = {"head": "This head", "shallow": "First two layers", "all": "All heads"}
LESSONS: dict[Loss, str] = {"kl": "Dense model", "ce": "Text"}
CONSTANT = Word("Share a constant can hold", "share of lost energy", "‖E δz‖² / E‖δz‖² over tokens.")
FACTORS = (0.0, 0.5, 1.0, 2.0, 4.0)


# --- 4 ----------------------------------------------------------------------------------------------------------


@st.fragment
def constant(workspace: Workspace, head: Head) -> None:
    """How little one constant can hold; and what putting it back untrained does to perplexity."""
    left, right = step(4, "What can be put back is a constant")
    table = lessons.constant_share(workspace)
    least, middle, most = (float(table.quantile(q)) for q in (0, 0.5, 1))
    with left:
        st.markdown(
            "Only something that is the same for every token costs nothing later (step 6). So each component gets its "
            r"mean amount: $c = \sum_i \alpha_i v_i$ with $\alpha_i = \mathbb{E}[\delta z] \cdot v_i$ (Eq. 4). The map "
            r"shows the share of a head’s lost energy that the whole mean holds, $\lVert\mathbb{E}\,\delta z\rVert^2 / "
            r"\mathbb{E}\lVert\delta z\rVert^2$. No constant can hold more."
        )
        st.markdown(
            f"It is {least:.0%} to {most:.0%}, in half of the heads under **{middle:.0%}**; in {head_name(head)} "
            f"{float(table[head]):.0%}. By far most of the loss depends on the token."
            if middle < 0.4
            else f"It is {least:.0%} to {most:.0%}, in half of the heads under **{middle:.0%}**."
        )
    with right, st.container(width=MAP):
        controls.figure(
            charts.head_map(table, CONSTANT, colours(state.dark()), height=330),
            "learn-constant",
            f"Share of lost energy that a constant can hold, by layer and head: {least:.0%} to {most:.0%}.",
            controls.by_head(table, "constant_share"),
        )
    st.markdown("##### Add component 1, 2, 3 …")
    left, right = st.columns([5, 7], gap="large")
    with left:
        scope = str(
            st.segmented_control(
                "Where",
                list(SCOPES),
                default="all",
                required=True,
                format_func=lambda name: head_name(head) if name == "head" else SCOPES[name],
                key="learn-scope",
                persist_state="session",
            )
        )
        options = [count for count in COUNTS if count < workspace.lost.shape[2]] + [workspace.lost.shape[2]]
        count = int(
            st.select_slider(
                "Components of each head put back, untrained", options, 0, key="learn-count", persist_state="session"
            )
        )
    with right:
        place = st.empty()
    _injected(workspace, head, scope, count, options, left, place)


def _injected(
    workspace: Workspace,
    head: Head,
    scope: str,
    count: int,
    options: list[int],
    words: DeltaGenerator,
    place: DeltaGenerator,
) -> None:
    """Measure this choice, and draw it beside all that are known."""
    every = {k: Picks(lessons.first_components(workspace.lost.shape, scope, head, k)) for k in options}
    try:
        with place, st.spinner("Measuring perplexity"):
            # A name of its own: the header measures for the same person at the same time.
            now = lane.ask(workspace, every[count], f"{state.session().owner}-learn").result()
    except Superseded:
        return
    except RestoreLCCError as error:
        words.error(str(error), icon=":material/error:")
        return
    known = [(k, one) for k, one in ((k, lane.known(workspace, picks)) for k, picks in every.items()) if one]
    with words:
        if count == 0:
            st.markdown("Nothing is put back yet: this is the pruned model. Slide to add components.")
        else:
            noise = ", which may be noise" if abs(now.gain.z) < 2 else ""
            effect = "better" if now.gain.nats < 0 else "worse"
            st.markdown(
                f"Perplexity **{now.picked.value:.2f}** ± {now.picked.stderr:.2f}: {signed(now.gain.nats)} ± "
                f"{now.gain.stderr:.4f} nats against pruned, {effect}{noise}. Recovered "
                f"**{now.share:.0%}** ± {now.share_error:.0%}.".replace("-", "−")
            )
        st.caption(
            "Activations closer on average need not make a better model. What deeper heads lost contains what "
            "shallower heads lost, since they read it: put back everywhere, part of it is put back twice. Compare the "
            "first two layers with all heads. Points stay as you measure them; bars are one standard error, "
            f"paired over {now.windows} windows."
        )
    with place.container():
        controls.figure(
            learn_charts.injections(known, colours(state.dark()), count, options[-1]),
            "learn-injections",
            f"Change of the NLL per token with components put back untrained in {SCOPES[scope].lower()}. At {count}: "
            f"{now.gain.nats:+.4f} nats.",
            pd.DataFrame(
                [(k, m.picked.value, m.gain.nats, m.gain.stderr, m.share) for k, m in known],
                columns=["components", "perplexity", "nats_against_pruned", "standard_error", "recovered_share"],
            ),
        )


# --- 5 ----------------------------------------------------------------------------------------------------------


@st.fragment
def training(workspace: Workspace) -> None:
    """Train the constants here for a few steps; and what longer trainings showed."""
    left, right = step(5, "Train the constants")
    owner = state.session().owner
    with left:
        st.markdown(
            "Rather than measure each head’s mean by itself, train all constants together for what they do to the "
            r"output: $c = \sum_i \beta_i v_i + b$ (Eq. 8), everything else frozen. Against what? The paper takes the "
            "text’s next token (cross-entropy). The **dense model** is the better teacher: its whole distribution over "
            "the next token says more than the one token that came, and it asks only for what pruning took."
        )
        st.markdown(f"Train all heads for {lessons.STEPS} steps, now:")
        with st.container(horizontal=True):
            for loss, name in LESSONS.items():
                done = jobs.find(lessons.training_key(workspace.recipe, loss))
                st.button(
                    f"Teacher: {name.lower()}",
                    key=f"learn-train-{loss}",
                    icon=":material/model_training:",
                    on_click=_train,
                    args=(workspace, loss, owner),
                    disabled=done is not None and done.state in (State.QUEUED, State.RUNNING, State.DONE),
                )
    curves: list[tuple[str, tuple[int, ...], tuple[float, ...]]] = []
    level = None
    with left:
        for loss, name in LESSONS.items():
            job = jobs.find(lessons.training_key(workspace.recipe, loss))
            if job is None:
                continue
            if job.state != State.DONE:
                with right:
                    feedback.progress(job)
                continue
            lesson: lessons.Lesson = job.result
            level = lesson.dense, lesson.held_out[0]
            curves.append((f"teacher: {name.lower()}", lesson.steps, lesson.held_out))
            result = lesson.measured
            st.markdown(
                f"**{name}** as the teacher, on evaluation text: {signed(result.gain.nats)} ± {result.gain.stderr:.4f} "
                f"nats ({result.share:.0%} ± {result.share_error:.0%} of the loss). Distance to the dense model, KL: "
                f"{lesson.distance[0]:.4f} → **{lesson.distance[1]:.4f}** ({signed(lesson.closer.nats)} ± "
                f"{lesson.closer.stderr:.4f}).".replace("-", "−")
            )
        if curves:
            st.caption(
                "Compare the distances, not the curves alone: calibration and evaluation text are by one author here. "
                "Trained on the text, the model learns that author’s manner, and its perplexity may even pass below "
                "the dense model’s. That is learning something new, not getting back what was lost."
            )
        st.page_link(PAGES["restore"].link, label="Restore the open pair", icon=":material/healing:")
    with right:
        if level is None:
            feedback.empty("The learning curve of either teacher appears here, on windows held out of the training.")
        else:
            controls.figure(
                learn_charts.lessons(curves, *level, colours(state.dark())),
                "learn-lessons",
                "Perplexity of held-out calibration windows by training step, between pruned and dense.",
                pd.concat([pd.DataFrame({"curve": n, "step": s, "perplexity": p}) for n, s, p in curves]),
            )
    facts.section()


def _train(workspace: Workspace, loss: Loss, owner: str) -> None:
    lessons.training_job(workspace, loss, owner)


# --- 6 ----------------------------------------------------------------------------------------------------------


@st.fragment
def folding(workspace: Workspace) -> None:
    """Hook and bias give the same logits; no zero is lost."""
    left, right = step(6, "A constant folds into a bias")
    with left:
        st.markdown(
            "The output projection is linear: $W_O (z + c) = W_O z + W_O c$. The second term is the same vector for "
            "every token, so it is computed once and stored as the projection’s **bias**. No weight changes, every "
            "zero stays zero, and a forward pass has one vector to add per layer."
        )
        factor = float(
            st.select_slider(
                "Put back how many times the mean of every head",
                FACTORS,
                1.0,
                format_func=lambda value: f"{value:g} ×",
                key="learn-factor",
                persist_state="session",
                help="Not to make the model better (step 4), but to see that both ways agree whatever c is.",
            )
        )
    with right, st.spinner("Comparing hook and bias"), feedback.guarded():
        check = cache.merge_check(workspace.recipe, factor, workspace)
        controls.figure(
            learn_charts.agreement(check.plain, check.hooked, check.folded, colours(state.dark())),
            "learn-folding",
            f"Next-token logits with c in a bias against c in a hook: they differ by {check.difference:.1e} at most.",
            pd.DataFrame(
                {"hook": check.hooked.numpy(), "bias": check.folded.numpy(), "nothing_put_back": check.plain.numpy()}
            ),
        )
        with left:
            st.markdown(_verdict(check))


def _power(value: float) -> str:
    """0.000012 as 1 × 10⁻⁵, in LaTeX."""
    if value == 0:
        return "0"
    digit, _, exponent = f"{value:.0e}".partition("e")
    return rf"${digit} \times 10^{{{int(exponent)}}}$"


def _verdict(check: lessons.MergeCheck) -> str:
    before, after = check.zeros
    kept = "none was lost" if before == after else f"{abs(before - after):,} changed"
    return (
        f"Putting it back moves logits by up to **{check.change:.2f}**. In float32, hook and bias differ by "
        f"**{_power(check.difference)}** at most. In {check.stored}, in which the model is stored, they differ by "
        f"{check.stored_difference:.2g}: it rounds the two ways differently.\n\n"
        f"Zeros before: **{before:,}** of {check.weights:,} weights ({before / check.weights:.1%}); after: "
        f"**{after:,}**; {kept}. All that was added is {check.bias_numbers:,} numbers in biases."
    )
