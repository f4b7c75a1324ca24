"""Sections of the Learn page: six steps, each with words on the left and a figure of the embedded pair on the right."""

from __future__ import annotations

import pandas as pd
import streamlit as st
import torch
from streamlit.delta_generator import DeltaGenerator

from restorelcc.errors import RestoreLCCError
from restorelcc.findings import Recipe
from restorelcc.restore import Loss
from restorelcc.workspace import Workspace

from . import cache, charts, controls, feedback, learn_charts, learn_work, shelf, state
from .colours import colours
from .jobs import State, jobs
from .learn_words import CHOICES, FORMULAS, GLOSSARY, PAPER, REHEARSAL, SOURCES, TEACHERS, published_shares
from .live import Superseded, lane
from .picks import Picks
from .words import METRIC_WORDS, Word, head_name, signed

Head = tuple[int, int]
COUNTS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)
SCOPES = {"head": "This head", "shallow": "First two layers", "all": "All heads"}
LESSONS: dict[Loss, str] = {"kl": "Dense model", "ce": "Text"}
CONSTANT = Word("Share a constant can hold", "share of lost energy", "‖E δz‖² / E‖δz‖² over tokens.")
PASSAGE = 48  # tokens of the merge check


def embedded_pair() -> Workspace | None:
    """The embedded pair as it comes, whatever pair the session looks at; while it is being opened, the progress."""
    recipe, owner = Recipe(), state.session().owner
    found = shelf.workspace(recipe)
    if found is not None:
        return found
    job = jobs.find(("open", recipe))
    if job is None or job.state == State.DONE:  # Done, yet no longer open: others took its place.
        job = shelf.opening(recipe, owner)
    feedback.progress(job)
    if job.finished:
        st.button("Open the embedded pair", key="learn-open", on_click=shelf.opening, args=(recipe, owner))
    return None


def introduction(workspace: Workspace | None) -> None:
    """What the page is about, and what its figures are of."""
    st.markdown("### How lost component compensation works")
    with st.container(width=720):
        st.markdown(
            "Pruning sets most of a language model’s small weights to zero: it gets smaller, and somewhat worse. "
            "RestoreLCC asks what every attention head stopped computing, and puts part of it back as one constant "
            "vector per head, without making a single zero non-zero. Six steps show how."
        )
        if workspace is not None:
            shape, size = workspace.findings.geometry, workspace.findings.dense_size
            other = "" if state.session().recipe == Recipe() else " It is not the pair in the header above."
            st.caption(
                "Figures are of the embedded pair, computed on this machine unless marked otherwise: a Llama of "
                f"{size.parameters / 1e6:.1f} M parameters that writes children’s stories, with {shape.n_layers} layers "
                f"of {shape.n_heads} heads, and itself pruned with {workspace.findings.pruned_name}.{other}"
            )


def _step(number: int, title: str) -> tuple[DeltaGenerator, DeltaGenerator]:
    """The heading, and places for words and figure."""
    st.divider()
    st.markdown(f"#### {number}. {title}")
    left, right = st.columns([5, 7], gap="large")
    return left, right


# --- 1 ----------------------------------------------------------------------------------------------------------


@st.fragment
def pruning(workspace: Workspace) -> None:
    """Slide the sparsity, see the map."""
    left, right = _step(1, "Pruning changes what heads compute")
    with left:
        st.markdown(
            "A head mixes values of earlier tokens into its **activation** *z*; the output projection W_O then writes "
            "*z* into the residual stream. With weights gone, *z* comes out different. The map shows by how much: the "
            "mean squared change as a share of the mean squared activation, for every head. 0 is untouched; 1 is as "
            "much change as there was activation."
        )
        label = st.select_slider(
            "Share of weights that Wanda sets to zero",
            learn_work.SPARSITIES,
            "60 %",
            key="learn-sparsity",
            persist_state="session",
            help="2:4 also removes half of the weights, but exactly two of every four neighbours, as GPUs want it. A "
            "sparsity not seen before is pruned now, from fewer calibration windows than the embedded pair's.",
        )
        found = _damage(workspace, label)
    if found is None:
        return
    with left:
        st.markdown(
            f"Perplexity goes from **{found.dense.value:.2f}** ± {found.dense.stderr:.2f} (dense) to "
            f"**{found.pruned.value:.2f}** ± {found.pruned.stderr:.2f}: {signed(found.lost.nats)} ± "
            f"{found.lost.stderr:.4f} nats per token, paired"
            + (", which is within noise." if abs(found.lost.z) < 2 else ".")
        )
        st.caption(
            f"{found.sparsity:.1%} of decoder weights zero, chosen with {found.windows} windows of calibration text; "
            f"perplexity of {found.dense.tokens:,} tokens."
        )
    with right:
        word = METRIC_WORDS["relative_error"]
        table = found.relative_error
        worst = divmod(int(table.argmax()), table.shape[1])
        controls.figure(
            learn_charts.damage_map(table, word, colours(state.dark())),
            "learn-damage",
            f"Relative error by layer and head at {label}. It reaches {float(table.max()):.2f}, at {head_name(worst)}.",
            _by_head(table, "relative_error"),
        )


def _damage(workspace: Workspace, label: str) -> learn_work.Damage | None:
    """Of one sparsity; None while it is being pruned."""
    if learn_work.recipe_at(label) == workspace.recipe:
        return learn_work.damage(workspace)
    owner = state.session().owner
    known = jobs.find(("learn-prune", learn_work.recipe_at(label)))
    # After a cancel or a failure nothing starts by itself.
    job = known if known is not None else learn_work.pruning_job(label, owner)
    if job.state == State.DONE:
        result: learn_work.Damage = job.result
        return result
    feedback.progress(job)
    if job.finished:
        st.button("Prune it", key="learn-prune-again", on_click=learn_work.pruning_job, args=(label, owner))
    return None


def _by_head(table: torch.Tensor, name: str) -> pd.DataFrame:
    layers, heads = table.shape
    index = [(layer, head) for layer in range(layers) for head in range(heads)]
    return pd.DataFrame(index, columns=["layer", "head"]).assign(**{name: table.flatten().numpy()})


# --- 2 ----------------------------------------------------------------------------------------------------------


def lost_activation(workspace: Workspace) -> Head:
    """δz of one head as arrows; gives the head that this step and the next two are about."""
    left, right = _step(2, "The difference is the lost activation")
    layers, heads, _ = workspace.lost.shape
    with left:
        st.markdown(
            "Run the same text through both models and subtract, token by token: δz = z_dense − z_pruned (Eq. 2). Each "
            "line is one token: it starts where the pruned model is and ends where the dense model was. The thick "
            "arrow is their mean. If all lines were equal, one constant would undo the damage; they are not, but they "
            "do not cancel out either."
        )
        heaviest = int(workspace.loss.output_weighted.argmax())
        chosen: Head = st.selectbox(
            "Head of this step and the next two",
            [(layer, head) for layer in range(layers) for head in range(heads)],
            heaviest,
            format_func=head_name,
            key="learn-head",
            persist_state="session",
            help="At first the head whose loss weighs most in the residual stream.",
        )
        share = float(learn_work.constant_share(workspace)[chosen])
        st.markdown(
            f"{head_name(chosen)} lost **{float(workspace.loss.relative_error[chosen]):.0%}** of its energy. The mean "
            f"arrow holds **{share:.0%}** of that loss."
        )
    points = cache.projection(workspace.recipe, *chosen, workspace)
    with right:
        controls.figure(
            learn_charts.arrows(points, colours(state.dark())),
            "learn-arrows",
            f"Activations of {head_name(chosen)} in the dense and the pruned model on 60 tokens, joined by lines, and "
            "the mean of the differences as an arrow.",
            pd.DataFrame(
                {
                    "dense_1": points.dense[:, 0],
                    "dense_2": points.dense[:, 1],
                    "pruned_1": points.pruned[:, 0],
                    "pruned_2": points.pruned[:, 1],
                }
            ),
        )
        st.caption(
            f"In the plane of the two principal axes of δz, which hold {sum(points.explained):.0%} of its variance; "
            "activation units."
        )
    return chosen


# --- 3 ----------------------------------------------------------------------------------------------------------


@st.fragment
def components(workspace: Workspace, head: Head) -> None:
    """Energy of the components of one head; how much the first k hold together."""
    left, right = _step(3, "The loss has directions")
    shares = workspace.lost.energy[head]
    with left:
        st.markdown(
            "Stack δz of many tokens into a matrix and take its singular value decomposition (Eq. 3). Its right "
            "singular vectors v₁, v₂, … are the **components**: at right angles, strongest first. It is not centred, "
            "as principal components would be, since a shift of the mean is loss too."
        )
        count = st.slider(
            "Components 1 to …", 1, len(shares), min(4, len(shares)), key="learn-components", persist_state="session"
        )
        held = shares.cumsum(0)
        needed = int((held < 0.9).sum()) + 1
        st.markdown(
            f"Components 1 to {count} of {head_name(head)} hold **{float(held[count - 1]):.0%}** of what it lost. 90 % "
            f"takes {needed} of {len(shares)}; in a loss without directions every one would hold "
            f"{1 / len(shares):.0%}."
        )
        st.caption("This is what could come back if each token got its own amount of every component.")
        st.page_link("../pages/components.py", label="Components of the open pair", icon=":material/arrow_forward:")
    with right:
        controls.figure(
            learn_charts.energy(shares, count, colours(state.dark())),
            "learn-energy",
            f"Energy of the components of {head_name(head)}: the first {count} hold {float(held[count - 1]):.0%}.",
            pd.DataFrame(
                {"component": range(1, len(shares) + 1), "energy": shares.numpy(), "cumulative": held.numpy()}
            ),
        )


# --- 4 ----------------------------------------------------------------------------------------------------------


@st.fragment
def constant(workspace: Workspace, head: Head) -> None:
    """How little one constant can hold; and what putting it back untrained does to perplexity."""
    left, right = _step(4, "What can be put back is a constant")
    table = learn_work.constant_share(workspace)
    least, middle, most = (float(table.quantile(q)) for q in (0, 0.5, 1))
    with left:
        st.markdown(
            "Only something that is the same for every token costs nothing later (step 6). So each component gets its "
            "mean amount: αᵢ = E[δz] · vᵢ and c = Σ αᵢvᵢ (Eq. 4). The map shows the share of a head’s lost energy that "
            "the whole mean holds, ‖E δz‖² / E‖δz‖². More than that no constant can hold."
        )
        st.markdown(
            f"It is {least:.0%} to {most:.0%}, in half of the heads under **{middle:.0%}**; in {head_name(head)} "
            f"{float(table[head]):.0%}. By far most of the loss depends on the token."
            if middle < 0.4
            else f"It is {least:.0%} to {most:.0%}, in half of the heads under **{middle:.0%}**."
        )
    with right:
        controls.figure(
            _constant_map(table),
            "learn-constant",
            f"Share of lost energy that a constant can hold, by layer and head: {least:.0%} to {most:.0%}.",
            _by_head(table, "constant_share"),
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


def _constant_map(table: torch.Tensor) -> object:
    return charts.head_map(table, CONSTANT, colours(state.dark()), height=330, select=False)


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
    every = {k: Picks(learn_work.first_components(workspace.lost.shape, scope, head, k)) for k in options}
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
            "Closer activations need not mean a better model. What deeper heads lost contains what shallower heads "
            "lost, since they read it: put the means back everywhere and part of the loss is put back twice. Compare "
            "the first two layers with all heads. Points stay as you measure them; bars are one standard error, paired, "
            f"over {now.windows} windows."
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
    left, right = _step(5, "Train the constants")
    owner = state.session().owner
    with left:
        st.markdown(
            "Rather than measure each head’s mean by itself, train all constants together for what they do to the "
            "output: c = Σ βᵢvᵢ + b (Eq. 8), everything else frozen. Against what? The paper takes the text’s next "
            "token (cross-entropy). The **dense model** is the better teacher: its whole distribution over the next "
            "token says more than the one token that came, and it asks only for what pruning took, not for the "
            "author of the calibration text."
        )
        st.markdown(f"Train all heads for {learn_work.STEPS} steps, now:")
        with st.container(horizontal=True):
            for loss, name in LESSONS.items():
                done = jobs.find(learn_work.training_key(workspace.recipe, loss))
                st.button(
                    f"Teacher: {name.lower()}",
                    key=f"learn-train-{loss}",
                    icon=":material/model_training:",
                    on_click=learn_work.training_job,
                    args=(workspace, loss, owner),
                    disabled=done is not None and done.state in (State.QUEUED, State.RUNNING, State.DONE),
                )
    curves: list[tuple[str, tuple[int, ...], tuple[float, ...]]] = []
    level = None
    with left:
        for loss, name in LESSONS.items():
            job = jobs.find(learn_work.training_key(workspace.recipe, loss))
            if job is None:
                continue
            if job.state != State.DONE:
                feedback.progress(job)
                continue
            lesson: learn_work.Lesson = job.result
            level = lesson.dense, lesson.held_out[0]
            curves.append((f"teacher: {name.lower()}", lesson.steps, lesson.held_out))
            result = lesson.measured
            st.markdown(
                f"{name}: on evaluation text **{result.share:.0%}** ± {result.share_error:.0%} recovered "
                f"({signed(result.gain.nats)} ± {result.gain.stderr:.4f} nats).".replace("-", "−")
            )
        st.page_link("../pages/restore.py", label="Restore the open pair", icon=":material/healing:")
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
    measured_elsewhere()


def measured_elsewhere() -> None:
    """Figures that take longer than a lesson, with where they are from."""
    st.markdown("##### What longer trainings showed")
    left, right = st.columns([5, 7], gap="large")
    with left:
        views = {"teachers": "Which teacher", "heads": "Which heads", **{name: f"Paper, {name}" for name in PAPER}}
        view = st.segmented_control(
            "Not computed here",
            list(views),
            default="heads",
            required=True,
            format_func=views.__getitem__,
            key="learn-facts",
            persist_state="session",
        )
        rows, words, source = _facts(str(view))
        st.markdown(words)
        st.caption(source)
    with right:
        controls.figure(
            learn_charts.shares(rows, colours(state.dark()), marked=(max(rows, key=lambda row: row[1])[0],)),
            "learn-facts-chart",
            "Recovered shares: " + ", ".join(f"{name} {share:.0%}" for name, share in rows) + ".",
            pd.DataFrame(rows, columns=["what", "recovered_share"]),
        )


def _facts(view: str) -> tuple[list[tuple[str, float]], str, str]:
    """(rows, what they teach, where they are from)."""
    if view == "teachers":
        return (
            list(TEACHERS),
            "Training recovers several times what injecting means does. With the dense model as the teacher it even "
            "works on text that the dense model writes itself, where cross-entropy has little to offer.",
            f"{REHEARSAL} Constants in all heads; 150 steps on given text, 50 on the model’s own.",
        )
    if view == "heads":
        return (
            list(CHOICES),
            "A quarter of the heads, chosen by different rules. **The largest loss is not the one most worth "
            "repairing**: heads of largest relative error do worse than heads drawn at random. Deep heads show losses "
            "that began further down, and repairing those below repairs them too.",
            f"{REHEARSAL} 50 steps.",
        )
    dense, pruned, _ = PAPER[view]
    return (
        published_shares(view),
        f"LLaMA-7B on WikiText-2: pruning took perplexity from {dense:.2f} to {pruned:.2f}. Bars are what each method "
        "won back of that. LoRA and its kin train low-rank matrices, which no longer fit under the zeros.",
        "Perplexities published by Feng et al.; shares computed from them.",
    )
