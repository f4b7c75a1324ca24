"""How fast models are beside each other: what is timed, in which order, and which matrices sparse kernels may have."""

import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace

import pytest
import torch
from commands import answer, call
from conftest import make_model, noisy
from families import random_compensation
from torch.testing._internal.two_tensor import TwoTensor

from restorelcc.artifacts.export import save_adapter
from restorelcc.compensation.interface import compensated, in_one
from restorelcc.errors import SettingError
from restorelcc.evaluation.speed import kernels
from restorelcc.evaluation.speed.timing import Load, Speed, Speeds, Spread, timed
from restorelcc.progress import finish

FEW = Load(prompt=8, new=3, rounds=3)


@contextmanager
def slow():
    time.sleep(0.01)
    yield


def test_all_are_timed_in_every_round_another_first(pair):
    models = {"dense": (pair.dense, nullcontext), "pruned": (pair.pruned, nullcontext)}
    order = []
    work = timed(models, FEW)
    while True:
        try:
            order.append(next(work).what)
        except StopIteration as end:
            speeds = end.value
            break
    begun = [what.split(",")[0].removeprefix("timing ") for what in order]
    assert begun == ["dense", "pruned", "pruned", "dense"] * 2
    assert len(order) == 2 * (FEW.rounds + 1), "one round warms up"
    for speed in speeds.models.values():
        assert len(speed.prefill) == len(speed.decode) == FEW.rounds
        assert min(*speed.prefill, *speed.decode) > 0
    assert speeds.models["dense"].weights == sum(weight.nbytes for weight in pair.dense.parameters())


def test_a_model_that_waits_is_slower_and_the_ratio_says_how_much():
    one = Speed((0.1, 0.2, 0.4), (0.01, 0.02, 0.04), 100, None)
    half = replace(one, prefill=tuple(2 * each for each in one.prefill))
    speeds = Speeds(Load(100, 10, 3), {"pruned": one, "restored": half}, "cpu")
    read, written = speeds.ratio("restored", "pruned")
    assert read == Spread(0.5, 0.5, 0.5), "paired by round: that rounds differ cancels out"
    assert written == Spread(1, 1, 1)
    assert speeds.rates("pruned")[0] == Spread(500, 375, 750)
    assert speeds.rates("pruned")[1].median == 50
    found = speeds.figures()["models"]["restored"]["against_pruned"]
    assert found["prefill"]["median"] == 0.5


def test_what_does_not_fit_or_makes_no_sense_is_refused(pair):
    with pytest.raises(SettingError, match="context of 64"):
        finish(timed({"dense": (pair.dense, nullcontext)}, Load(60, 10)))
    for bad in ({"prompt": 0}, {"new": 0}, {"rounds": 1}):
        with pytest.raises(SettingError):
            Load(**bad)


def test_constants_are_timed_folded_into_an_ordinary_model(pair, tokens):
    back = random_compensation(pair.pruned)
    model, within = in_one(pair.pruned, back)
    assert within is nullcontext
    with compensated(pair.pruned, back):
        expected = pair.pruned(tokens.ids).logits
    torch.testing.assert_close(model(tokens.ids).logits, expected, rtol=1e-4, atol=1e-4)


def test_what_cannot_be_folded_is_timed_as_an_adapter(pair, monkeypatch):
    from restorelcc.compensation import interface
    from restorelcc.errors import UnsupportedModel

    def refuse(*_):
        raise UnsupportedModel("no place for it")

    monkeypatch.setattr(interface, "folded", refuse)
    model, within = in_one(pair.pruned, random_compensation(pair.pruned))
    assert model is pair.pruned
    assert within is not nullcontext


# --- kernels of 2:4, which need a GPU: here, what would be given to them -------------------------------------------


@pytest.fixture
def gpu(monkeypatch):
    """As if there were one; returns the matrices that its kernels are given."""
    packed = []

    def pack(weight):
        packed.append(tuple(weight.shape))
        return weight.clone()

    monkeypatch.setattr(kernels, "device_of", lambda model: torch.device("cuda"))
    monkeypatch.setattr(kernels, "CAPABLE", (8, 0))
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr("torch.sparse.to_sparse_semi_structured", pack)
    return packed


def wide(dtype=torch.bfloat16):
    model = make_model(hidden_size=64, intermediate_size=128, head_dim=16, num_hidden_layers=1)
    return model.to(dtype)


def two_four(model):
    for name, weight in model.named_parameters():
        if "_proj" in name:
            groups = weight.data.unflatten(-1, (-1, 4))
            groups[..., 1::2] = 0
    return model


def test_matrices_of_two_in_four_and_no_others_go_into_sparse_kernels(gpu):
    model = two_four(wide())
    model.model.layers[0].mlp.up_proj.weight.data[3, :3] = 1.0
    twin = kernels.in_sparse_kernels(model)
    assert twin is not None
    assert twin is not model
    assert sorted(gpu) == [(32, 64), (32, 64), (64, 64), (64, 64), (64, 128), (128, 64)]
    ids = torch.arange(5)[None]
    assert torch.equal(twin(ids).logits, model(ids).logits)
    assert kernels.in_sparse_kernels(wide()) is None, "nothing of 2:4"
    assert kernels.in_sparse_kernels(two_four(wide(torch.float32))) is None, "no such kernels"


def test_without_a_gpu_there_are_no_sparse_kernels(gpu, monkeypatch):
    models = {name: (two_four(wide()), nullcontext) for name in ("dense", "pruned", "restored")}
    models["restored"] = (models["restored"][0], slow)
    assert [*kernels.with_kernels(models)] == ["dense", "pruned", "restored", "pruned, 2:4 kernels"]
    monkeypatch.setattr(kernels, "device_of", lambda model: torch.device("cpu"))
    assert kernels.with_kernels(models) == models


def test_packed_weights_count_as_what_they_are_packed_in():
    module = torch.nn.Linear(4, 4, bias=False)
    plain = kernels.held_bytes(module)
    module.weight = torch.nn.Parameter(TwoTensor(torch.zeros(4, 4), torch.zeros(4, 4)))
    assert (plain, kernels.held_bytes(module)) == (64, 128)


# --- on the command line ----------------------------------------------------------------------------------------


def test_evaluate_times_all_three(pair, folders, tmp_path):
    dense = make_model(max_position_embeddings=256)
    for name, model in (("dense", dense), ("pruned", noisy(dense))):
        model.save_pretrained(folders[0].parent / name)
    save_adapter(tmp_path / "adapter", random_compensation(pair.pruned), pair.geometry, {}, pair.pruned)
    few = ["--speed", "--rounds", "2"]
    asked = ["evaluate", folders[1], "--adapter", tmp_path / "adapter", "--against", folders[0], *few]
    found = answer(*asked)
    assert [*found["models"]] == ["dense", "pruned", "restored"]
    assert found["models"]["restored"]["against_pruned"]["decode"]["median"] > 0
    told = call(*asked).stdout
    assert "restored against pruned, in the same rounds" in told
    alone = answer("evaluate", folders[1], *few)
    assert [*alone["models"]] == ["model"]
    refused = call("evaluate", folders[1], "--speed", "--text", "demo")
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
