"""Tiny random models made from configs, so that nothing is downloaded and every test is fast."""

import json
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import settings as examples
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from restorelcc.artifacts.findings import Findings, Recipe, Size
from restorelcc.capture.components import LostComponents, components
from restorelcc.capture.statistics import HeadStatistics, capture
from restorelcc.evaluation.perplexity import token_loss
from restorelcc.models.pair import ModelPair, paired
from restorelcc.progress import finish
from restorelcc.pruning.sparsity import measure_sparsity
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything
from restorelcc.text.tokens import Tokens
from restorelcc.workspace import Workspace

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # Processes side by side, each with threads for every core, would wait for each other.

# Machines that tests run on are shared: how long an example takes says nothing.
examples.register_profile("shared", deadline=None)
examples.load_profile("shared")

WORDS = (
    "the a little girl boy dog cat ball tree house ran saw had was and to in on big red blue happy sad "
    "said mom dad play with park sun day one time once upon"
).split()


def make_tokenizer(words: list[str] = WORDS) -> PreTrainedTokenizerFast:
    vocabulary = {word: index for index, word in enumerate(["<s>", "</s>", "<unk>", *words])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def make_model(seed: int = 0, **changes: object) -> LlamaForCausalLM:
    """Grouped-query attention, and head_dim (8) that is not d_model / n_heads (6)."""
    shape = {
        "vocab_size": len(WORDS) + 3,
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 64,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "initializer_range": 0.25,
    }
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**(shape | changes))).eval().requires_grad_(False)


def noisy(model: LlamaForCausalLM, amount: float = 0.3, seed: int = 1) -> LlamaForCausalLM:
    """The same model with a random part of its decoder weights zeroed: a stand-in for pruning."""
    twin = LlamaForCausalLM(model.config).eval().requires_grad_(False)
    twin.load_state_dict(model.state_dict())
    generator = torch.Generator().manual_seed(seed)
    for name, weight in twin.named_parameters():
        if "_proj" in name:
            weight.data[torch.rand(weight.shape, generator=generator) < amount] = 0
    return twin


def make_tokens(texts: int = 6, length: int = 16, seed: int = 0, vocabulary: int = len(WORDS) + 3) -> Tokens:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, vocabulary, (texts, length), generator=generator)
    real = torch.ones_like(ids, dtype=torch.bool)
    scored = real.clone()
    scored[:, 0] = False
    return Tokens(ids, real, scored, scored)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer()


@pytest.fixture(scope="session")
def pair(tokenizer: PreTrainedTokenizerFast) -> ModelPair:
    dense = make_model()
    return paired(dense, noisy(dense), tokenizer, "dense", "pruned")


@pytest.fixture
def on_one_thread() -> Iterator[None]:
    """For numbers that are held against each other to the last digit, on a machine that others use too."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def own_pair(tokenizer: PreTrainedTokenizerFast) -> ModelPair:
    """An equal one that no thread of the app, left by another test, can be computing with."""
    dense = make_model()
    return paired(dense, noisy(dense), tokenizer, "dense", "pruned")


@pytest.fixture(scope="session")
def tokens() -> Tokens:
    return make_tokens()


@pytest.fixture(scope="session")
def statistics(pair: ModelPair, tokens: Tokens) -> HeadStatistics:
    return finish(capture(pair, tokens, samples=1000))


@pytest.fixture(scope="session")
def lost(statistics: HeadStatistics) -> LostComponents:
    return components(statistics)


def about_the_mean(statistics: HeadStatistics) -> HeadStatistics:
    """With the covariance of what was lost in place of its second moment: its components are principal components."""
    mean = statistics.mean
    return replace(statistics, second_moment=statistics.second_moment - mean[..., :, None] * mean[..., None, :])


@pytest.fixture(scope="module")
def workspace(pair: ModelPair, tokens: Tokens, statistics: HeadStatistics) -> Workspace:
    """Stands in for the embedded pair."""
    sizes = [
        Size(model.num_parameters(), sum(int(p.count_nonzero()) for p in model.parameters()))
        for model in (pair.dense, pair.pruned)
    ]
    found = Findings(
        pair.geometry,
        "demo",
        "wanda 60 %",
        *sizes,
        measure_sparsity(pair.pruned),
        tokens,
        tokens,
        tokens,
        statistics,
        token_loss(pair.dense, tokens),
        token_loss(pair.pruned, tokens),
    )
    return Workspace(Recipe(), found, pair)


@pytest.fixture
def folders(pair: ModelPair, tmp_path: Path) -> tuple[Path, Path]:
    """The pair on disk: (dense, pruned)."""
    for name in ("dense", "pruned"):
        getattr(pair, name).save_pretrained(tmp_path / name)
        pair.tokenizer.save_pretrained(tmp_path / name)
    return tmp_path / "dense", tmp_path / "pruned"


@pytest.fixture(autouse=True)
def own_directories(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing a test does reaches the user's cache, runs or the network."""
    for variable in ("XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(variable, str(tmp_path_factory.mktemp(variable.lower())))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Where it counts, a test that did not run did not pass."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and CI allows no skips: {report.longrepr}"
    return report


QUICK = Settings(steps=13, batch=3, evaluate_every=4, lr=0.05, seed=7)


def quick(pair, lost, settings=QUICK, selection=None, **given):
    """A short training on seven texts, of which three judge; of everything, where nothing else is said."""
    texts = make_tokens(texts=7, seed=5)
    return Training(pair, lost, selection or everything(lost.shape), texts, texts[:3], settings, **given)


def curve(training):
    """All of its steps but the times, of a training or what came of it."""
    seconds = [step.seconds for step in training.history]
    assert seconds == sorted(seconds)
    return [repr(replace(step, seconds=0.0, tokens_per_second=0.0)) for step in training.history]


def z_values(model: LlamaForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    """[layer, batch, pos, head * d_head], the plain way: one hook a layer, the whole forward pass."""
    seen: list[torch.Tensor] = []
    hooks = [
        layer.self_attn.o_proj.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
        for layer in model.model.layers
    ]
    model(ids)
    for hook in hooks:
        hook.remove()
    return torch.stack(seen)


@pytest.fixture
def text(tmp_path):
    """Enough words for twelve windows of 16 tokens."""
    draw = random.Random(0)
    stories = [" ".join(draw.choices(WORDS, k=23)) for _ in range(8)]
    path = tmp_path / "text.txt"
    path.write_text("\n<|endoftext|>\n".join(stories))
    return path


@pytest.fixture
def pair_args(folders, text):
    dense, pruned = folders
    return ["--dense", str(dense), "--pruned", str(pruned), "--calibration", str(text), "--length", "16"]


def rewritten(folder, change):
    """The weights of a folder, changed in place."""
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(
        {name: value.clone() for name, value in state.items()}, folder / "model.safetensors", metadata={"format": "pt"}
    )


def configured(folder, **changes):
    """Its config, changed; None takes a field away."""
    config = json.loads((folder / "config.json").read_text()) | changes
    kept = {key: value for key, value in config.items() if not (key in changes and value is None)}
    (folder / "config.json").write_text(json.dumps(kept))
