"""A second kind of compensation, made here and nowhere else, goes the whole way that constants go: what is put back may
be anything that says what it changes in a forward pass and how an ordinary model computes the same."""

import json
import threading
from dataclasses import dataclass

import pytest
import torch
from families import logits_with
from torch import Tensor
from torch.nn.functional import linear
from transformers import AutoModelForCausalLM

import restorelcc
from restorelcc.artifacts.export import adapter_fits, fingerprint, load_adapter, save_adapter, save_checkpoint
from restorelcc.artifacts.runs import list_runs, save_run
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import Compensation, compensated, folded
from restorelcc.compensation.kinds import KINDS
from restorelcc.errors import LoadError, SettingError
from restorelcc.hf.layout import geometry, output_projections
from restorelcc.hf.twins import copied
from restorelcc.pruning.sparsity import measure_sparsity
from restorelcc.restoration.choices import TRAINED
from restorelcc.restoration.parameters import Parameters
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.sweep import Grid, SweepResult, sweep
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import of_heads

HEADS = [(0, 1), (2, 0), (2, 3)]


@dataclass(frozen=True, eq=False)
class Scales(Compensation):
    """Each head louder or softer: one factor a head, 1 for those left alone."""

    factors: Tensor
    """[layer, head]"""

    kind = "scales"
    version = 2
    made_of = "one factor a head"
    carried_by = "output projections"
    size = ("|s − 1|", "of the head's activation")

    @classmethod
    def none(cls, shape):
        return cls(torch.ones(shape.n_layers, shape.n_heads))

    @property
    def norms(self):
        return (self.factors - 1).abs()

    def part(self, layer, head):
        factors = torch.ones_like(self.factors)
        factors[layer, head] = self.factors[layer, head]
        return Scales(factors)

    def changes(self, model):
        width = geometry(model).d_head

        def changed(weight, by_column):
            return lambda inputs, output: output + linear(inputs * (by_column - 1), weight)

        by_column = self.factors.repeat_interleave(width, 1)
        return [(m, changed(m.weight, row)) for m, row in zip(output_projections(model), by_column, strict=True)]

    def fold(self, model):
        twin, width = copied(model), geometry(model).d_head
        for projection, factors in zip(output_projections(twin), self.factors, strict=True):
            projection.weight.mul_(factors.repeat_interleave(width))
        return twin

    def tensors(self):
        return {"factors": self.factors}

    @classmethod
    def from_tensors(cls, tensors, shape, version):
        if tensors["factors"].shape != (shape.n_layers, shape.n_heads):
            raise ValueError(f"factors of {list(tensors['factors'].shape)} for {shape}")
        return cls(tensors["factors"])


class ScaleParameters(Parameters):
    """The logarithm of every picked head's factor."""

    def __init__(self, pair, components, selection, settings, generator):
        self._picked = selection.mask().any(-1)
        self._logs = torch.zeros(self._picked.shape, requires_grad=True)
        self.moved, self.count = [self._logs], int(self._picked.sum())

    def compensation(self):
        return Scales((self._logs * self._picked).exp())

    def tensors(self):
        return {"logs": self._logs * self._picked}


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """The two rows that make it a kind."""
    monkeypatch.setitem(KINDS, Scales.kind, Scales)
    monkeypatch.setitem(TRAINED, Scales.kind, ScaleParameters)


@pytest.fixture
def settings():
    return Settings(kind="scales", steps=2, batch=6, lr=0.02, evaluate_every=1, loss="kl")


@pytest.fixture
def restoration(pair, lost, tokens, settings):
    training = Training(pair, lost, of_heads(lost.shape, HEADS), tokens, tokens, settings)
    for _ in training.steps():
        pass
    return training.result()


@pytest.fixture
def scales():
    """Far enough from 1 to be seen in the logits."""
    return Scales(1 + torch.randn(3, 4, generator=torch.Generator().manual_seed(0)))


def test_it_is_trained(restoration):
    first, *_, last = restoration.history
    assert last.held_out_loss < first.held_out_loss
    assert restoration.best_step == 2
    assert isinstance(restoration.compensation, Scales)
    assert {tuple(place) for place in restoration.compensation.norms.nonzero().tolist()} == set(HEADS)
    torch.testing.assert_close(restoration.trained["logs"].exp(), restoration.compensation.factors)
    assert restoration.trained_parameters == 3
    assert not restoration.compensation.factors.requires_grad


def test_it_is_applied_for_one_thread_and_folds_into_an_ordinary_model(pair, tokens, scales):
    before = {name: value.clone() for name, value in pair.pruned.state_dict().items()}
    hooked = logits_with(pair.pruned, scales, tokens.ids)
    by_hand = copied(pair.pruned)
    for layer, factors in zip(by_hand.model.layers, scales.factors, strict=True):
        layer.self_attn.o_proj.register_forward_pre_hook(
            lambda _, args, factors=factors: (args[0].unflatten(-1, (4, 8)).mul(factors[:, None]).flatten(-2),)
        )
    torch.testing.assert_close(hooked, by_hand(tokens.ids).logits, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(hooked, pair.pruned(tokens.ids).logits, atol=1e-2)
    torch.testing.assert_close(folded(pair.pruned, scales)(tokens.ids).logits, hooked, rtol=1e-4, atol=1e-4)
    assert torch.equal(logits_with(pair.pruned, Scales.none(pair.geometry), tokens.ids), pair.pruned(tokens.ids).logits)
    assert all(torch.equal(value, before[name]) for name, value in pair.pruned.state_dict().items())


def test_each_thread_computes_with_its_own_kind(pair, tokens, scales):
    constants = Constants(torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(1)))
    choices = [scales, constants, scales.part(1, 2)]
    alone = [logits_with(pair.pruned, choice, tokens.ids) for choice in choices]
    barrier, wrong = threading.Barrier(len(choices)), []

    def work(index):
        for _ in range(20):
            barrier.wait()
            if not torch.equal(logits_with(pair.pruned, choices[index], tokens.ids), alone[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(choices))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_two_kinds_at_once_add_up(pair, tokens, scales):
    constants = Constants(torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(1)))
    with compensated(pair.pruned, scales):
        both = logits_with(pair.pruned, constants, tokens.ids)
    # The constant joins what the projection writes, whatever the factor does to what it reads.
    torch.testing.assert_close(
        both, logits_with(folded(pair.pruned, scales), Constants(constants.vectors / scales.factors[..., None]),
                          tokens.ids), rtol=1e-4, atol=1e-4
    )  # fmt: skip


def test_an_adapter_there_and_back_and_onto_a_model_for_good(pair, tokens, scales, folders, tmp_path):
    about = {"pruned": "pruned", "fingerprint": fingerprint(pair.pruned)}
    save_adapter(tmp_path / "adapter", scales, pair.geometry, about)
    assert "one factor a head" in (tmp_path / "adapter" / "README.md").read_text()
    loaded = load_adapter(tmp_path / "adapter")
    assert isinstance(loaded.compensation, Scales)
    assert torch.equal(loaded.compensation.factors, scales.factors)
    assert loaded.about["pruned"] == "pruned"
    adapter_fits(loaded, pair.pruned)
    model, _ = restorelcc.load_restored(str(folders[1]), tmp_path / "adapter")
    torch.testing.assert_close(model(tokens.ids).logits, logits_with(pair.pruned, scales, tokens.ids))


def test_a_checkpoint_that_stock_transformers_loads(pair, tokens, scales, tmp_path):
    save_checkpoint(tmp_path / "restored", pair.pruned, pair.tokenizer, scales)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "restored")
    expected = logits_with(pair.pruned, scales, tokens.ids)
    torch.testing.assert_close(again(tokens.ids).logits, expected, rtol=1e-4, atol=1e-4)
    assert measure_sparsity(again) == measure_sparsity(pair.pruned)
    assert "folded into its output projections" in (tmp_path / "restored" / "README.md").read_text()


def test_it_is_listed_as_a_run(pair, restoration, tmp_path):
    save_run(restoration, pair.geometry, "louder", {"dense": "a", "pruned": "b"}, tmp_path)
    (run,) = list_runs(tmp_path)
    assert run.name == "louder"
    assert run.settings == restoration.settings
    assert run.selection.heads == set(HEADS)
    assert run.config["trained_parameters"] == 3
    assert torch.equal(run.trained()["logs"], restoration.trained["logs"])
    assert torch.equal(run.adapter().compensation.factors, restoration.compensation.factors)
    assert list(run.metrics()["step"]) == [0, 1, 2]


def test_a_sweep_trains_it_like_any_other(pair, lost, tokens, settings):
    grid = Grid(heads=(0.5,), components=(None,), lr=(0.02,), loss=("kl",), settings=settings)
    *_, result = sweep(pair, lost, lost.variance.sum(-1), tokens, tokens, grid)
    assert isinstance(result, SweepResult)
    assert result.trained_parameters == 6


# --- what is on disk says what it is ----------------------------------------------------------------------------


@pytest.fixture
def adapter(pair, scales, tmp_path):
    """(its folder, what its description says)."""
    save_adapter(tmp_path / "adapter", scales, pair.geometry, {})
    return tmp_path / "adapter", json.loads((tmp_path / "adapter" / "restorelcc.json").read_text())


def test_an_adapter_names_its_kind_and_version(adapter):
    assert adapter[1]["compensation"] == {"kind": "scales", "version": 2}


@pytest.mark.parametrize(
    ("made_of", "says"),
    [
        ({"kind": "magic", "version": 1}, "'magic', and this version knows constants, scales"),
        ({"kind": "scales", "version": 3}, "'scales' in version 3, and this version reads up to 2"),
        ({"kind": "constants", "version": 1}, "damaged.*vectors"),
        ({"kind": "scales"}, "damaged.*version"),
        ("scales", "damaged"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(adapter, made_of, says):
    folder, about = adapter
    (folder / "restorelcc.json").write_text(json.dumps(about | {"compensation": made_of}))
    with pytest.raises(LoadError, match=says):
        load_adapter(folder)


def test_what_was_written_when_there_was_one_kind_is_constants(pair, lost, tokens, tmp_path):
    training = Training(pair, lost, of_heads(lost.shape, HEADS), tokens, tokens, Settings(steps=1, batch=2))
    for _ in training.steps():
        pass
    run = save_run(training.result(), pair.geometry, "old", {}, tmp_path)
    del run.config["settings"]["kind"]
    (run.folder / "config.json").write_text(json.dumps(run.config))
    about = json.loads((run.folder / "adapter" / "restorelcc.json").read_text())
    del about["compensation"]
    (run.folder / "adapter" / "restorelcc.json").write_text(json.dumps(about))
    (old,) = list_runs(tmp_path)
    assert old.settings == training.settings
    assert torch.equal(old.adapter().compensation.vectors, training.result().compensation.vectors)


def test_a_kind_that_cannot_be_trained_is_refused():
    with pytest.raises(SettingError, match="'magic' cannot be trained: give one of constants, scales"):
        Settings(kind="magic")


def test_what_can_be_trained_can_be_read():
    assert TRAINED.keys() <= KINDS.keys()
