"""Parts of the Pair page: three ways in, and what is known of the pair in view."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import streamlit as st
import torch

from restorelcc.artifacts.findings import Recipe
from restorelcc.errors import RestoreLCCError
from restorelcc.models.loading import DEMO, DTYPES, MAP, Loading
from restorelcc.pruning.layerwise import METHODS, STRUCTURED, Pruning
from restorelcc.text import sources
from restorelcc.workspace import Workspace

from ..charts import common as charts
from ..session import state
from ..values.colours import colours
from ..values.words import HELP, count, model_name, signed
from ..widgets import controls
from ..work import open_pairs
from ..work.live import unpicked

KEY = "pair-form"
"""What is typed, as a dict: kept across pages."""
DEVICE_HELP = (
    "auto is the best one here: {}. map spreads a model over GPUs, memory and disk as far as each reaches: slower, for "
    "models that fit nowhere else."
)
WAYS = {
    "demo": "The embedded pair",
    "two": "A dense and a pruned model",
    "one": "A dense model, pruned here",
}
METHOD_HELP = {
    "wanda": "Wanda (Sun et al., 2306.11695): drops the weights with the smallest |weight| × ‖input‖ in each row. It "
    "reads calibration text, layer by layer.",
    "sparsegpt": "SparseGPT (Frantar and Alistarh, 2301.00774): drops the weights that others can best make up for, "
    "and changes those others so that they do. It reads calibration text, layer by layer.",
    "magnitude": "Drops the weights of smallest size in each matrix. Needs no text, and loses more.",
    "structured": "Removes whole heads and MLP channels, those that the others can best make up for, in the manner of "
    "SlimGPT (Ling et al., 2412.18110). The model becomes smaller and faster. It reads calibration text.",
}
METHOD_NAMES = {"sparsegpt": "SparseGPT"}
ALLOCATIONS = {"uniform": "The same in every layer", "owl": "By outliers (OWL)"}
PATTERNS = {"": "Unstructured", "2:4": "2:4 (hardware speed-up)", "4:8": "4:8"}


def ways_in() -> None:
    """The form, and the button that opens what it says."""
    typed = st.session_state.setdefault(KEY, _plain())
    st.radio("Pair", list(WAYS), format_func=lambda way: WAYS[way], label_visibility="collapsed", **_mirror("way"))
    way = typed["way"]
    if way == "demo":
        st.markdown(
            "A 7 M-parameter Llama trained for this project on children's stories, and its partner, pruned with Wanda "
            "to 60 %. It comes with the app: nothing is downloaded."
        )
    else:
        st.text_input(
            "Dense model",
            placeholder="owner/name on the Hugging Face hub, a folder, or demo",
            help="Any model of the kinds listed in the README. Weights must be safetensors. For a gated or private one "
            "log in with `hf auth login` where this app runs, or set HF_TOKEN there. Where two models do not fit into "
            "memory, they are read one at a time.",
            **_mirror("dense"),
        )
    if way == "two":
        st.text_input(
            "Pruned model",
            placeholder="owner/name, or a folder",
            help="The same model after pruning: same tokenizer and layers. Where heads were removed, its "
            "kept_heads.json says which are left, or they are recognised by their weights.",
            **_mirror("pruned"),
        )
    if way == "one":
        _pruning()
    with st.expander("Text, device and precision", key="pair-more", expanded=way != "demo"):
        _text()
        _device()
    recipe = _typed()
    here = state.session()
    st.button(
        "Open",
        type="primary",
        key="open-pair",
        icon=":material/folder_open:",
        width="stretch",
        disabled=recipe is None or (recipe == here.recipe and open_pairs.workspace(recipe) is not None),
        on_click=lambda: _open(recipe),
    )


def _plain() -> dict[str, Any]:
    plain = Recipe()
    return {
        "way": "demo",
        "dense": "",
        "pruned": "",
        "method": "wanda",
        "sparsity": 50,
        "pattern": "",
        "ratio": 25,
        "allocation": "uniform",
        "calibration": plain.calibration,
        "evaluation": plain.evaluation,
        "windows": plain.windows,
        "captured": plain.captured,
        "length": 0,
        "in_order": False,
        "device": "auto",
        "dtype": "auto",
        "revision": "",
        "allow_pickle": False,
        "trust_remote_code": False,
    }


def _mirror(name: str) -> dict[str, Any]:
    typed = st.session_state[KEY]
    return controls.mirrored(f"pair-{name}", typed[name], lambda value: typed.update({name: value}))


def _pruning() -> None:
    st.segmented_control(
        "Method",
        list(METHODS),
        format_func=lambda method: METHOD_NAMES.get(method, method.capitalize()),
        required=True,
        help="\n\n".join(METHOD_HELP[name] for name in METHODS),
        **_mirror("method"),
    )
    st.caption(METHOD_HELP[st.session_state[KEY]["method"]])
    if st.session_state[KEY]["method"] == STRUCTURED:
        st.slider(
            "Ratio, % of heads and MLP channels removed from each layer",
            5,
            75,
            step=5,
            help="Key/value heads go with all query heads that read them. Embeddings stay.",
            **_mirror("ratio"),
        )
        return
    st.segmented_control(
        "Pattern",
        list(PATTERNS),
        format_func=lambda pattern: PATTERNS[pattern],
        required=True,
        help="n:m keeps n of every m consecutive input weights, which some GPUs can use to run faster.",
        **_mirror("pattern"),
    )
    if not st.session_state[KEY]["pattern"]:
        st.slider(
            "Sparsity, % of each weight matrix set to zero",
            5,
            95,
            step=5,
            help="Embeddings stay.",
            **_mirror("sparsity"),
        )
        st.segmented_control(
            "Over layers",
            list(ALLOCATIONS),
            format_func=lambda name: ALLOCATIONS[name],
            required=True,
            help="OWL (Yin et al., 2310.05175) prunes layers less where more weights stand out by |weight| × ‖input‖. "
            "The share of zeros in all stays what the slider says.",
            **_mirror("allocation"),
        )


def _text() -> None:
    offered = [sources.DEMO, sources.SELF, *sources.HUB]
    help_text = (
        "demo: stories that come with the app; self: sampled from the dense model; wikitext2, c4, alpaca: from the "
        "hub; or type a .txt or .jsonl file on the machine that runs this app, or hf:dataset/config:split:column."
    )
    for name, label, options in (
        ("calibration", "Calibration text: prunes, captures and trains", offered),
        ("evaluation", "Evaluation text: perplexities are of it", [one for one in offered if one != sources.SELF]),
    ):
        typed = st.session_state[KEY][name]
        st.selectbox(
            label, list(dict.fromkeys([*options, typed])), accept_new_options=True, help=help_text, **_mirror(name)
        )
    row = st.columns(3)
    with row[0]:
        st.number_input("Windows", 2, 4096, help="Of calibration text, at most.", **_mirror("windows"))
    with row[1]:
        st.number_input("Captured", 1, 4096, help="Windows that head activations are read from.", **_mirror("captured"))
    with row[2]:
        st.number_input("Tokens a window", 0, 32_768, help="0: the model's context, up to 2,048.", **_mirror("length"))
    st.toggle(
        "Measure layer after layer",
        help="Each layer is measured with the mean losses of all layers below put back, since a deeper layer's loss "
        "contains what shallower ones lost. Injecting everything is then training-free injection in order. It costs a "
        "capture for every layer.",
        **_mirror("in_order"),
    )


def _device() -> None:
    devices = ["auto", "cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    devices += ["mps", MAP] if torch.backends.mps.is_available() else [MAP]
    row = st.columns(2)
    with row[0]:
        best = Loading().resolved_device()
        st.selectbox("Device", devices, help=DEVICE_HELP.format(best), **_mirror("device"))
    with row[1]:
        st.selectbox("Precision", ["auto", *DTYPES], help="auto: as the weights are stored.", **_mirror("dtype"))
    if st.session_state[KEY]["way"] != "demo":
        st.text_input(
            "Revision on the hub",
            help="Branch, tag or commit, of both models; owner/name@revision says it of one. Empty: the main branch.",
            **_mirror("revision"),
        )
        st.toggle("Allow pickled weights", help="A pickle can run any code on this machine.", **_mirror("allow_pickle"))
        st.toggle(
            "Trust the model's own code",
            help="Runs Python that comes with the weights.",
            **_mirror("trust_remote_code"),
        )


def _typed() -> Recipe | None:
    """The recipe as typed; None, with the engine's reason, where it makes no sense or lacks something."""
    typed = st.session_state[KEY]
    way = typed["way"]
    if way != "demo" and not typed["dense"].strip():
        return None
    if way == "two" and not typed["pruned"].strip():
        return None
    try:
        loading = Loading(typed["device"], typed["dtype"])
        if way != "demo":
            revision = typed["revision"].strip() or None
            loading = Loading(
                typed["device"], typed["dtype"], revision, typed["allow_pickle"], typed["trust_remote_code"]
            )
        recipe = Recipe(
            dense=DEMO if way == "demo" else typed["dense"].strip(),
            pruned=typed["pruned"].strip() if way == "two" else None,
            calibration=typed["calibration"],
            evaluation=typed["evaluation"],
            windows=typed["windows"],
            captured=typed["captured"],
            length=typed["length"] or None,
            in_order=typed["in_order"],
            loading=loading,
        )
        if way == "one":
            return replace(recipe, pruning=_chosen(typed))
        return recipe
    except RestoreLCCError as error:
        st.error(str(error), icon=":material/error:")
        return None


def _chosen(typed: dict[str, Any]) -> Pruning:
    """What is typed of pruning; what the method does not ask for is left out."""
    if typed["method"] == STRUCTURED:
        return Pruning(STRUCTURED, typed["ratio"] / 100)
    if typed["pattern"]:
        return Pruning(typed["method"], pattern=typed["pattern"])
    return Pruning(typed["method"], typed["sparsity"] / 100, allocation=typed["allocation"])


def _open(recipe: Recipe | None) -> None:
    here = state.session()
    if recipe is None:
        return
    if open_pairs.workspace(recipe) is not None:
        state.show(recipe)
    else:
        here.pending = open_pairs.opening(recipe, here.owner).id


# --- what is open -----------------------------------------------------------------------------------------------


def facts(workspace: Workspace) -> None:
    """Sizes and losses."""
    found = workspace.findings
    shape = found.geometry
    kv = "" if shape.n_kv_heads == shape.n_heads else f", {shape.n_kv_heads} key/value heads"
    st.markdown(f"#### {model_name(found.dense_name)} and {found.pruned_name}")
    st.caption(
        f"{shape.n_layers} layers of {shape.n_heads} heads of width {shape.d_head}{kv}; residual stream of "
        f"{shape.d_model}. Head activations read from {found.statistics.count:,} tokens of "
        f"'{workspace.recipe.calibration}'."
    )
    for remark in workspace.remarks():
        st.caption(remark)
    columns = st.columns(4)
    columns[0].metric("Parameters", count(found.dense_size.parameters), help=f"{found.dense_size.parameters:,}")
    columns[1].metric(
        "Not zero after pruning",
        count(found.pruned_size.nonzero),
        help=f"{found.pruned_size.nonzero:,}; embeddings and norms, which are not pruned, included.",
    )
    columns[2].metric(
        "Sparsity",
        f"{found.sparsity.sparsity:.1%}",
        help="Share of zeros in the weight matrices of the decoder layers.",
    )
    known = unpicked(workspace)
    columns[3].metric(
        "Lost",
        f"{signed(known.lost.nats, 3)} nats",
        help=f"± {known.lost.stderr:.3f}: mean negative log-likelihood per token, pruned minus dense, paired "
        f"by window, over {known.dense.tokens:,} tokens. {HELP['perplexity']}",
    )
    st.markdown(
        f"Perplexity **{known.dense.value:.2f}** ± {known.dense.stderr:.2f} dense, **{known.pruned.value:.2f}** "
        f"± {known.pruned.stderr:.2f} pruned, on the live set of {known.dense.tokens:,} tokens."
    )


def sparsity(workspace: Workspace) -> None:
    """Zeros by layer and matrix."""
    frame = workspace.findings.sparsity.to_pandas()
    st.markdown("##### Sparsity by layer and matrix", help="Share of zeros in each weight matrix, and its n:m pattern.")
    controls.figure(
        charts.sparsity_map(frame, colours(state.dark())),
        "sparsity",
        f"Map of the share of zeros by layer and matrix, from {frame['sparsity'].min():.0%} to "
        f"{frame['sparsity'].max():.0%}.",
        frame,
    )
