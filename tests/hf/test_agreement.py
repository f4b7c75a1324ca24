"""That an export computes what it should is found out from what it changes, in every precision."""

import pytest
import torch
from commands import call
from families import make_family, random_compensation

from restorelcc.artifacts.export import save_checkpoint
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import folded
from restorelcc.errors import UnsupportedModel
from restorelcc.hf import twins
from restorelcc.hf.families import FAMILIES

PLAIN = {"mistral": {"sliding_window": None}, "qwen2": {"sliding_window": None}}
MERGED = [name for name, family in FAMILIES.items() if family.export != "adapter"]
EVERY = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])


def some(model, share):
    """`share` of constants that change the logits by a fifth of their norm to all of it."""
    return Constants(share * random_compensation(model).vectors)


@EVERY
@pytest.mark.parametrize("model_type", MERGED)
def test_every_family_agrees_whatever_the_precision_and_however_little_is_put_back(model_type, dtype):
    model = make_family(model_type, **PLAIN.get(model_type, {})).to(dtype)
    for share in (1.0, 0.1, 0.001, 0.0):
        folded(model, some(model, share))


def spoiled(monkeypatch, change):
    """Output biases come out as `change` makes them, in the common route as in the others."""
    added = twins._added

    def other(twin, state, biases):
        return added(twin, state, [change(bias) for bias in biases])

    monkeypatch.setattr(twins, "_added", other)


@EVERY
@pytest.mark.parametrize("model_type", ["llama", "mistral", "gemma2", "gpt2", "qwen3_moe"])
@pytest.mark.parametrize(
    "change", [lambda bias: 0 * bias, lambda bias: 1.5 * bias, lambda bias: -bias], ids=["lost", "larger", "negative"]
)
def test_biases_that_are_not_those_are_found_out(model_type, dtype, change, monkeypatch):
    model = make_family(model_type, **PLAIN.get(model_type, {})).to(dtype)
    spoiled(monkeypatch, change)
    with pytest.raises(UnsupportedModel, match=r"cannot be merged.*computes other logits.*Export an adapter"):
        folded(model, some(model, 0.3))


def test_a_lost_change_of_few_per_cent_is_found_out_in_half_precision(monkeypatch):
    model = make_family("llama").bfloat16()
    folded(model, some(model, 0.04))
    spoiled(monkeypatch, lambda bias: 0 * bias)
    with pytest.raises(UnsupportedModel, match=r"should change by [3-5]\.\d\d% of their norm, and change by 0\.00%"):
        folded(model, some(model, 0.04))


def test_an_export_that_disagrees_is_one_line_and_leaves_nothing(pair, pair_args, tmp_path, monkeypatch):
    before = sorted(tmp_path.rglob("*"))
    spoiled(monkeypatch, lambda bias: 0 * bias)
    c = random_compensation(pair.pruned)
    with pytest.raises(UnsupportedModel, match="other logits"):
        save_checkpoint(tmp_path / "out", pair.pruned, pair.tokenizer, c)
    assert sorted(tmp_path.rglob("*")) == before
    result = call("restore", *pair_args, "--format", "checkpoint", "--steps", 3, "--lr", 1, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "computes other logits" in result.stderr
    assert "The training is not lost" in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_logits_that_are_not_finite_are_no_agreement(pair):
    broken = make_family("llama")
    broken.model.norm.weight[0] = torch.nan
    with pytest.raises(UnsupportedModel, match=r"not all of its logits are finite"):
        folded(broken, random_compensation(broken))
