"""One text, read by the three models: what each token cost them, and where restoration helped or hurt."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from restorelcc.artifacts.runs import Run
from restorelcc.evaluation.comparison import Share, compare
from restorelcc.evaluation.perplexity import TokenLoss
from restorelcc.hf.layout import context_length
from restorelcc.text.spelling import readable
from restorelcc.text.tokens import as_text, lead, led, token_ids
from restorelcc.workspace import Workspace

from ...charts import compare as compare_charts
from ...session import cache, state
from ...values.colours import Colours, colours
from ...values.verbatim import in_markdown
from ...values.words import HELP, percent, signed
from ...widgets import controls, feedback, tinted
from ...work.continuation import MODELS

LONGEST = 512  # tokens of one text that is read


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
        losses = cache.losses_of_three(workspace.recipe, run.folder.name, tuple(ids), workspace, run)
        nll = [loss.nll[0].tolist() for loss in losses]
        tokenizer = workspace.pair().tokenizer
        predicted = as_text(tokenizer, ids).scored
        tokens = readable(tokenizer, ids)
        frame = pd.DataFrame({"position": range(len(ids)), "token": tokens, **dict(zip(MODELS, nll, strict=True))})
        frame["change"] = frame["restored"] - frame["pruned"]
        scored = frame[predicted[0].numpy()]
        text, figures = st.columns([7, 5], gap="medium")
        with text:
            _tinted(frame, scored, colours(state.dark()))
        with figures:
            _sums(losses)
            _helped(scored)
        controls.figure(
            compare_charts.cumulated(scored, colours(state.dark())),
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
    ids = token_ids(tokenizer, text)
    room = min(LONGEST, context_length(workspace.pair().dense))
    whole = led(lead(tokenizer), ids) if ids else []
    if len(whole) > room:
        st.caption(f"The first {room - (len(whole) - len(ids))} of {len(ids)} tokens are read.")
    return whole[:room]


def _tinted(frame: pd.DataFrame, scored: pd.DataFrame, look: Colours) -> None:
    scale = max(float(scored["change"].abs().quantile(0.97)), 1e-6)
    tokens = []
    for position, row in frame.to_dict(orient="index").items():
        if position not in scored.index:
            tokens.append(
                tinted.Token(row["token"], f"{'a start' if position else 'the first'} token is not predicted")
            )
            continue
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


def _sums(losses: list[TokenLoss]) -> None:
    """What the text cost the dense, the pruned and the restored model, and both shares of what pruning did to it."""
    found = compare(*losses)
    numbers = "".join(
        f'<div style="border-left:3px solid var(--{name});padding-left:.6rem"><div class="muted">'
        f'{name.capitalize()}</div><b style="font-variant-numeric:tabular-nums">{float(loss.nll.sum()):.1f} nats</b>'
        f'<div class="muted">perplexity {whole.value:.2f}</div></div>'
        for name, loss, whole in zip(MODELS, losses, (found.dense, found.pruned, found.restored), strict=True)
    )
    st.html(f'<div style="display:flex;flex-wrap:wrap;gap:1.4rem" data-sums>{numbers}</div>')
    recovered = (
        f"{_share(found.recovered)} of the loss recovered here"
        if found.recovered.known
        else "Pruning lost nothing here"
    )
    nearer = f", {_share(found.nearer)} nearer to the dense model." if found.nearer.known else "."
    st.markdown(
        f"Restored − pruned: **{signed(found.gain.nats)} ± {found.gain.stderr:.4f}** nats a token. {recovered}{nearer}",
        help="Errors take tokens for independent, which neighbours are not, so they are too small; one text says "
        f"little about others. The table above has what was measured on many. {HELP['nearer']}",
    )


def _share(share: Share) -> str:
    """A share with its error, in whole per cent."""
    return f"{percent(share.value)} ± {percent(share.stderr)}"


def _helped(scored: pd.DataFrame) -> None:
    better, worse = scored[scored["change"] < 0], scored[scored["change"] > 0]
    st.markdown(
        f"Helped at **{len(better)}** tokens ({signed(better['change'].sum(), 2)} nats in all), hurt at "
        f"**{len(worse)}** ({signed(worse['change'].sum(), 2)})."
    )
    ends = [("Most helped", better.nsmallest(5, "change")), ("Most hurt", worse.nlargest(5, "change"))]
    for label, rows in ends:
        words = ", ".join(
            f"<code>{in_markdown(token) or '␣'}</code> {signed(change, 2)}"
            for token, change in zip(rows["token"], rows["change"], strict=True)
        )
        st.markdown(f"{label}: {words or '–'}", unsafe_allow_html=True)
