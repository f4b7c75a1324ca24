"""The way in: the form that says which pair to open, and the button that opens it."""

from __future__ import annotations

import streamlit as st
import torch

from restorelcc.artifacts.findings import Recipe
from restorelcc.models.loading import DISK, DTYPES, MAP, Loading
from restorelcc.pruning.methods import ALLOCATIONS, METHODS, narrows
from restorelcc.text import sources

from ...session import state
from ...values import permits, rules
from ...work import open_pairs
from .typed import KEY, LONGEST_WINDOW, MOST_WINDOWS, begun, mirror, recipe_typed

DEVICE_HELP = (
    "auto is the best one here: {}. map spreads a model over GPUs, memory and disk as far as each reaches, and disk "
    "leaves all weights in their files, a layer in memory at a time: slower, for models that fit nowhere else."
)
WAYS = {
    "demo": "The embedded pair",
    "two": "A dense and a pruned model",
    "one": "A dense model, pruned here",
}
PATTERNS = {"": "Unstructured", "2:4": "2:4 (hardware speed-up)", "4:8": "4:8"}


def section() -> None:
    """The form, and the button that opens what it says."""
    typed = begun()
    if rules.given().said:
        st.caption(rules.given().said)
    st.radio("Pair", list(WAYS), format_func=lambda way: WAYS[way], label_visibility="collapsed", **mirror("way"))
    way = typed["way"]
    if way == "demo":
        st.markdown(
            "A 7 M-parameter Llama trained for this project on children's stories, and its partner, pruned with Wanda "
            "to 60 %. It comes with the app: nothing is downloaded."
        )
    else:
        _dense_model()
    if way == "two":
        _pruned_model()
    if way == "one":
        _pruning()
    with st.expander("Text, device and precision", key="pair-more", expanded=way != "demo"):
        _texts()
        _windows()
        _device()
        if way != "demo":
            _origin()
    recipe = recipe_typed()
    in_view = state.session().recipe
    st.button(
        "Open",
        type="primary",
        key="open-pair",
        icon=":material/folder_open:",
        width="stretch",
        disabled=recipe is None or (recipe == in_view and _is_open(recipe)),
        on_click=lambda: _open(recipe),
    )


def _is_open(recipe: Recipe) -> bool:
    """As its files are now."""
    return open_pairs.workspace(recipe) is not None and not open_pairs.changed(recipe)


def _dense_model() -> None:
    st.text_input(
        "Dense model",
        placeholder="owner/name on the Hugging Face hub, a folder, or demo",
        help="Any model of the kinds listed in the README. Weights must be safetensors. For a gated or private one "
        "log in with `hf auth login` where this app runs, or set HF_TOKEN there. Where two models do not fit into "
        "memory, they are read one at a time.",
        **mirror("dense"),
    )


def _pruned_model() -> None:
    st.text_input(
        "Pruned model",
        placeholder="owner/name, or a folder",
        help="The same model after pruning: same tokenizer and layers. Where heads were removed, its "
        "kept_heads.json says which are left, or they are recognised by their weights.",
        **mirror("pruned"),
    )


def _pruning() -> None:
    """How the dense model is pruned here: the method, and what it asks for."""
    st.segmented_control(
        "Method",
        list(METHODS),
        format_func=lambda method: METHODS[method].title,
        required=True,
        help="\n\n".join(method.definition for method in METHODS.values()),
        **mirror("method"),
    )
    typed = st.session_state[KEY]
    st.caption(METHODS[typed["method"]].definition)
    if narrows(typed["method"]):
        _ratio()
        return
    _pattern()
    if not typed["pattern"]:
        _sparsity()


def _ratio() -> None:
    st.slider(
        "Ratio, % of heads and MLP channels removed from each layer",
        5,
        75,
        step=5,
        help="Key/value heads go with all query heads that read them. Embeddings stay.",
        **mirror("ratio"),
    )


def _pattern() -> None:
    st.segmented_control(
        "Pattern",
        list(PATTERNS),
        format_func=lambda pattern: PATTERNS[pattern],
        required=True,
        help="n:m keeps n of every m consecutive input weights, which some GPUs can use to run faster.",
        **mirror("pattern"),
    )


def _sparsity() -> None:
    """How many zeros, and how they are spread over the layers."""
    st.slider(
        "Sparsity, % of each weight matrix set to zero",
        5,
        95,
        step=5,
        help="Embeddings stay.",
        **mirror("sparsity"),
    )
    st.segmented_control(
        "Over layers",
        list(ALLOCATIONS),
        format_func=lambda name: ALLOCATIONS[name].title,
        required=True,
        help="\n\n".join(allocation.definition for allocation in ALLOCATIONS.values()),
        **mirror("allocation"),
    )


def _texts() -> None:
    offered = list(sources.NAMED)
    help_text = (
        "demo: stories that come with the app; everyday: letters, recipes and instructions that do; self: sampled from "
        "the dense model; wikitext2, c4, alpaca: from the hub; or type a file (.txt, .jsonl, .csv, .parquet …) on the "
        "machine that runs this app, or hf:dataset/config:split:column."
    )
    given = [source for source in offered if source != sources.SELF]
    for name, label, options in (
        ("calibration", "Calibration text: prunes, captures and trains", offered),
        ("evaluation", "Evaluation text: perplexities are of it", given),
        ("elsewhere", "Second text: restorations are judged on it too, and nothing is made with it", given),
    ):
        chosen = st.session_state[KEY][name]
        st.selectbox(
            label, list(dict.fromkeys([*options, chosen])), accept_new_options=True, help=help_text, **mirror(name)
        )
    typed = st.session_state[KEY]
    if typed["calibration"] == typed["evaluation"] and not sources.has_parts(typed["evaluation"]):
        st.caption("One text for both: each gets windows of its own, so that nothing is judged by what it learnt.")


def _windows() -> None:
    """How much of the calibration text is read, and how heads are measured on it."""
    row = st.columns(3)
    with row[0]:
        st.number_input("Windows", 2, MOST_WINDOWS, help="Of calibration text, at most.", **mirror("windows"))
    with row[1]:
        st.number_input(
            "Captured", 1, MOST_WINDOWS, help="Windows that head activations are read from.", **mirror("captured")
        )
    with row[2]:
        st.number_input(
            "Tokens a window", 0, LONGEST_WINDOW, help="0: the model's context, up to 2,048.", **mirror("length")
        )
    st.toggle(
        "Measure layer after layer",
        help="Each layer is measured with the mean losses of all layers below put back, since a deeper layer's loss "
        "contains what shallower ones lost. Injecting everything is then training-free injection in order. It costs a "
        "capture for every layer.",
        **mirror("in_order"),
    )


def _device() -> None:
    devices = ["auto", "cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    devices += ["mps", MAP, DISK] if torch.backends.mps.is_available() else [MAP, DISK]
    row = st.columns(2)
    with row[0]:
        best = Loading().resolved_device()
        st.selectbox("Device", devices, help=DEVICE_HELP.format(best), **mirror("device"))
    with row[1]:
        st.selectbox("Precision", ["auto", *DTYPES], help="auto: as the weights are stored.", **mirror("dtype"))


def _origin() -> None:
    """Which revision of a model from the hub, and what this server may do with what comes with it."""
    st.text_input(
        "Revision on the hub",
        help="Branch, tag or commit, of both models; owner/name@revision says it of one. Empty: the main branch.",
        **mirror("revision"),
    )
    permitted = permits.given()
    pickles = "reads pickled weights too" if permitted.allow_pickle else "reads no pickled weights"
    code = "runs" if permitted.trust_remote_code else "runs no"
    remark = f"This server {pickles}, and {code} code that comes with a model."
    if permitted.lacking:
        remark += (
            " Either could do anything on its machine; who starts it can permit it: "
            f"`{permits.START} {' '.join(permitted.lacking)}`"
        )
    st.caption(remark)


def _open(recipe: Recipe | None) -> None:
    session = state.session()
    if recipe is None:
        return
    if open_pairs.workspace(recipe) is not None:
        state.show(recipe)
    else:
        session.pending = open_pairs.opening(recipe, session.owner).id
