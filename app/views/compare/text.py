"""Parts of the Compare page that try a run on text: one prompt continued by three models, one text read by them."""

from __future__ import annotations

import html
from collections.abc import Generator, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st
import torch
from torch import Tensor

from restorelcc.artifacts.export import adapter_fits
from restorelcc.artifacts.runs import Run
from restorelcc.compensation.constants import Compensation, compensated
from restorelcc.errors import SettingError
from restorelcc.evaluation.perplexity import TokenLoss, paired_difference, perplexity, recovered_share
from restorelcc.hf.layout import context_length
from restorelcc.models.pair import ModelPair
from restorelcc.progress import Progress
from restorelcc.text.generate import generate
from restorelcc.text.tokens import lead, whole
from restorelcc.workspace import Workspace

from ...charts import compare as charts
from ...session import cache, state
from ...values.colours import Colours, colours
from ...values.words import signed
from ...widgets import controls, feedback, tinted
from ...work.jobs import Job, jobs
from ...work.live import lane

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MODELS = ("dense", "pruned", "restored")
POLL = 0.25  # seconds between looks at text that grows
LONGEST = 512  # tokens of one text that is read


# --- a prompt, continued ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Continued:
    """What the three models have written so far, in the order of MODELS."""

    texts: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]

    def agreed(self, index: int) -> int:
        """Tokens for which a model wrote what the dense one did, from the first one on."""
        own, dense = self.tokens[index], self.tokens[0]
        pairs = enumerate(zip(own, dense, strict=False))
        return next((at for at, (ours, theirs) in pairs if ours != theirs), min(len(own), len(dense)))


@dataclass(frozen=True)
class Asked:
    """What is to be continued, and how."""

    prompt: str
    length: int
    temperature: float
    seed: int


def continuation(workspace: Workspace, run: Run) -> None:
    """The same prompt continued by the three models with one seed, at once."""
    st.markdown(
        "##### One prompt, three continuations",
        help="Each model samples from its own distribution, with the same random numbers. Where two models agree on "
        "what comes next they draw the same token, so texts part where the models do.",
    )
    asked = _asked(workspace)
    key = ("continued", workspace.recipe, run.folder.name, asked)
    job = jobs.get(st.session_state.get("compare-writing", ""))
    job = job if job is not None and job.key == key else jobs.find(key)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Continue it",
            key="write",
            icon=":material/play_arrow:",
            type="primary",
            disabled=not asked.prompt.strip() or (job is not None and not job.finished),
            on_click=_write,
            args=(workspace, run, asked),
        )
        if job is None:
            st.markdown(
                f"<span class='muted'>{3 * asked.length} tokens in all; the page stays usable meanwhile.</span>",
                unsafe_allow_html=True,
            )
    if job is not None:
        st.fragment(_growing, run_every=None if job.finished else POLL)(job.id, asked)


def _asked(workspace: Workspace) -> Asked:
    if "write-prompt" not in st.session_state:
        st.session_state["write-prompt"] = cache.opening(workspace.recipe, workspace)
    prompt = st.text_area("Prompt", key="write-prompt", height=80, persist_state="session")
    with st.container(horizontal=True, key="write-settings"):
        length = st.number_input(
            "Tokens", 8, 512, 80, 8, key="write-length", persist_state="session", help="Tokens that each model writes."
        )
        temperature = st.number_input(
            "Temperature",
            0.0,
            2.0,
            0.8,
            0.1,
            key="write-temperature",
            persist_state="session",
            help="0 takes the likeliest token each time; 1 samples from the model's own distribution.",
        )
        seed = st.number_input("Seed", 0, 2**31 - 1, 0, 1, key="write-seed", persist_state="session")
    return Asked(prompt, int(length), float(temperature), int(seed))


def _write(workspace: Workspace, run: Run, asked: Asked) -> None:
    with feedback.guarded():
        adapter, recipe = run.adapter(), workspace.recipe

        def work(job: Job) -> Generator[Progress, None, Continued]:
            yield Progress("loading the pair", 0, asked.length)
            adapter_fits(adapter, workspace.pair().pruned)
            return (yield from continued(workspace, adapter.compensation, asked, job))

        # A queue of its own: a sentence should not wait for minutes of training. What computes is the lane's thread,
        # one token of each model at a time, so that the header's measurements come in between.
        queue = f"{recipe.loading.resolved_device()} (text)"
        key = ("continued", recipe, run.folder.name, asked)
        job = jobs.submit("Writing", state.session().owner, queue, work, key=key, keeps_on_cancel=True)
        st.session_state["compare-writing"] = job.id


def continued(
    workspace: Workspace, compensation: Compensation, asked: Asked, job: Job
) -> Generator[Progress, None, Continued]:
    """Write; the job's only note is what is written so far. Raises SettingError if it does not fit the context."""
    pair = workspace.pair()
    tokenizer = pair.tokenizer
    prompt = lead(tokenizer) + list(tokenizer(asked.prompt, add_special_tokens=False, verbose=False).input_ids)
    room = context_length(pair.dense)
    if len(prompt) + asked.length > room:
        raise SettingError(
            f"The prompt has {len(prompt)} tokens, and {asked.length} more do not fit the models' context of {room}. "
            "Shorten one of them."
        )
    ids = torch.tensor([prompt])
    ended = tokenizer.eos_token_id
    writers: dict[str, Iterator[Tensor]] = {
        name: generate(_model(pair, name), ids, asked.length, asked.temperature, asked.seed, ended) for name in MODELS
    }
    drawn: dict[str, list[int]] = {name: [] for name in MODELS}

    def one_token_each() -> None:
        for name in list(writers):
            with compensated(pair.pruned, compensation) if name == "restored" else nullcontext():
                token = next(writers[name], None)
            if token is None:
                del writers[name]
            else:
                drawn[name].append(int(token))

    shown = str(tokenizer.decode(prompt, skip_special_tokens=True))

    def so_far() -> Continued:
        texts = []
        for tokens in drawn.values():  # Decoded with the prompt, as some tokenizers drop a leading space otherwise.
            text = str(tokenizer.decode(prompt + tokens, skip_special_tokens=True))
            texts.append(text[len(shown) :] if text.startswith(shown) else text)
        return Continued(tuple(texts), tuple(tuple(tokens) for tokens in drawn.values()))

    for number in range(asked.length):
        yield Progress(f"token {number + 1} of {asked.length}", number, asked.length)
        if job.stopping or not writers:
            break
        lane.run(workspace, one_token_each)
        job.notes[:] = [so_far()]
    return so_far()


def _model(pair: ModelPair, name: str) -> PreTrainedModel:
    return pair.dense if name == "dense" else pair.pruned


def _growing(job_id: str, asked: Asked) -> None:
    """The three texts, as far as they are."""
    job = jobs.get(job_id)
    if job is None:
        return
    if job.finished and not st.session_state.get(f"seen-{job_id}"):
        st.session_state[f"seen-{job_id}"] = True
        st.rerun()  # Of the whole page, once: the polling ends and the button comes back.
    if job.error:
        st.error(job.error, icon=":material/error:")
        return
    found: Continued | None = job.result or (job.notes[0] if job.notes else None)
    if not job.finished:
        with st.container(horizontal=True, vertical_alignment="center", key="writing"):
            st.progress(min(1.0, job.fraction), text=feedback.doing(job))
            feedback.cancel_button(job, st.container(width="content"), key=f"stop-{job.id}", label="Stop")
    for index, (column, name) in enumerate(zip(st.columns(3), MODELS, strict=True)):
        text = found.texts[index] if found else ""
        number = len(found.tokens[index]) if found else 0
        note = f"{number} tokens"
        if found and index:
            same = found.agreed(index)
            note += " · the same as dense" if same == number else f" · leaves dense after {same}"
        caret = "" if job.finished else "▍"
        column.html(
            f'<div class="continued" data-model="{name}" style="border-top:3px solid var(--{name});padding-top:.4rem">'
            f'<div style="display:flex;justify-content:space-between;gap:1rem"><b style="color:var(--{name})">'
            f'{name.capitalize()}</b><span class="muted">{note}</span></div><div style="white-space:pre-wrap;'
            f'line-height:1.6;margin-top:.3rem"><span class="muted" style="font-size:inherit">'
            f"{html.escape(asked.prompt)}</span>{html.escape(text)}{caret}</div></div>"
        )


# --- one text, read ---------------------------------------------------------------------------------------------


def token_by_token(workspace: Workspace, run: Run) -> None:
    """What each token of a text cost the three models, and where restoration helped or hurt."""
    st.markdown(
        "##### One text, token by token",
        help="NLL: −ln p(token | those before it), in nats. Blue tokens became likelier by restoration, orange ones "
        "less likely, against the pruned model. Hover a token for the three figures.",
    )
    ids = _text(workspace)
    if len(ids) < 2:
        st.info("Give a text of at least two tokens.", icon=":material/notes:")
        return
    with feedback.guarded():
        nll = cache.nll_of_three(workspace.recipe, run.folder.name, tuple(ids), workspace, run)
        tokens = [str(workspace.pair().tokenizer.decode([token])) for token in ids]
        frame = pd.DataFrame({"position": range(len(ids)), "token": tokens, **dict(zip(MODELS, nll, strict=True))})
        frame["change"] = frame["restored"] - frame["pruned"]
        scored = frame.iloc[1:]
        text, figures = st.columns([7, 5], gap="medium")
        with text:
            _tinted(frame, colours(state.dark()))
        with figures:
            _sums(nll)
            _helped(scored)
        controls.figure(
            charts.cumulated(scored, colours(state.dark())),
            "compare-tokens",
            f"NLL of the dense and the restored model minus the pruned one's, summed up over {len(scored)} tokens.",
            scored,
        )


def _text(workspace: Workspace) -> list[int]:
    """Token ids of the text that is asked for."""
    found, tokenizer = workspace.findings.evaluation, workspace.pair().tokenizer
    own = "Text of my own"
    with st.container(horizontal=True, vertical_alignment="bottom", key="read-settings"):
        kind = st.segmented_control(
            "Text", ["Evaluation text", own], default="Evaluation text", required=True, key="read-kind",
            persist_state="session",
        )  # fmt: skip
        if kind != own:
            window = st.number_input(
                f"Window (0 to {len(found) - 1})", 0, len(found) - 1, key="read-window", persist_state="session"
            )
            length = st.number_input("Tokens", 16, LONGEST, 128, 16, key="read-length", persist_state="session")
            row = min(int(window), len(found) - 1)
            return [int(token) for token in found.ids[row][found.real[row]][: int(length)]]
    text = st.text_area(
        "Text", key="read-own", height=100, persist_state="session", placeholder="Write or paste a text"
    )
    ids = list(tokenizer(text, add_special_tokens=False, verbose=False).input_ids)
    room = min(LONGEST, context_length(workspace.pair().dense))
    before = lead(tokenizer) if ids else []
    if len(before) + len(ids) > room:
        st.caption(f"The first {room - len(before)} of {len(ids)} tokens are read.")
    return (before + ids)[:room]


def _tinted(frame: pd.DataFrame, look: Colours) -> None:
    scale = max(float(frame["change"].abs().iloc[1:].quantile(0.97)), 1e-6)
    tokens = [tinted.Token(frame["token"].iloc[0], "the first token is not predicted")]
    for row in frame.iloc[1:].to_dict(orient="records"):
        change = float(row["change"])
        says = f"dense {row['dense']:.3f}, pruned {row['pruned']:.3f}, restored {row['restored']:.3f} nats; "
        colour = look.signed[0] if change < 0 else look.signed[2]
        says += f"restored − pruned {signed(change, 3)}"
        tokens.append(tinted.Token(row["token"], says, colour, abs(change) / scale, change))
    tinted.show(tokens, id="compare-tinted")
    better, worse = (f"color-mix(in srgb,{look.signed[side]} 65%,transparent)" for side in (0, 2))
    st.html(
        f'<div class="muted" style="display:flex;align-items:center;gap:.5rem"><span>better, −{scale:.2f} nats</span>'
        f'<span style="width:7rem;height:.6rem;border-radius:2px;background:'
        f'linear-gradient(90deg,{better},transparent,{worse})"></span>'
        f"<span>+{scale:.2f}, worse</span></div>"
    )


def _sums(nll: tuple[list[float], list[float], list[float]]) -> None:
    tokens = whole(torch.zeros(1, len(nll[0]), dtype=torch.int64))
    losses = [TokenLoss(torch.tensor([values], dtype=torch.float64), tokens.scored) for values in nll]
    dense, pruned, restored = (perplexity(loss) for loss in losses)
    numbers = "".join(
        f'<div style="border-left:3px solid var(--{name});padding-left:.6rem"><div class="muted">'
        f'{name.capitalize()}</div><b style="font-variant-numeric:tabular-nums">{sum(values):.1f} nats</b>'
        f'<div class="muted">perplexity {found.value:.2f}</div></div>'
        for name, values, found in zip(MODELS, nll, (dense, pruned, restored), strict=True)
    )
    st.html(f'<div style="display:flex;flex-wrap:wrap;gap:1.4rem" data-sums>{numbers}</div>')
    gain, share = paired_difference(losses[2], losses[1]), recovered_share(dense, pruned, restored)
    recovered = (
        f"{share:.0%}".replace("-", "−") + " of the loss recovered here."
        if share == share
        else "Pruning lost nothing on this text."
    )
    st.markdown(
        f"Restored − pruned: **{signed(gain.nats)} ± {gain.stderr:.4f}** nats a token. {recovered}",
        help="The error takes tokens for independent, which neighbours are not, so it is too small; one text says "
        "little about others. The table above has what was measured on many.",
    )


def _helped(scored: pd.DataFrame) -> None:
    better, worse = scored[scored["change"] < 0], scored[scored["change"] > 0]
    st.markdown(
        f"Helped at **{len(better)}** tokens ({signed(better['change'].sum(), 2)} nats in all), hurt at "
        f"**{len(worse)}** ({signed(worse['change'].sum(), 2)})."
    )
    ends = [("Most helped", better.nsmallest(5, "change")), ("Most hurt", worse.nlargest(5, "change"))]
    for label, rows in ends:
        words = ", ".join(
            f"`{token.strip() or '␣'}` {signed(change, 2)}"
            for token, change in zip(
                rows["token"].str.replace("`", "'").str.replace("\n", "↵"), rows["change"], strict=True
            )
        )
        st.markdown(f"{label}: {words or '–'}")
