"""A pair whose weights stay on disk is restored to the same numbers, with those of one layer in memory."""

import json
import re
import shutil
import weakref
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from accelerate.utils.offload import OffloadedWeightsLoader
from conftest import curve, make_model, make_tokens, noisy
from typer.testing import CliRunner

from restorelcc.artifacts.findings import Recipe
from restorelcc.capture import statistics
from restorelcc.capture.components import components
from restorelcc.capture.statistics import capture
from restorelcc.cli.options import app
from restorelcc.evaluation import losses, perplexity
from restorelcc.evaluation.comparison import side_by_side
from restorelcc.hf.layout import vocabulary_size
from restorelcc.hf.weights import is_spread, is_visited
from restorelcc.models import memory
from restorelcc.models.loading import Loading
from restorelcc.models.pair import load_pair
from restorelcc.progress import finish
from restorelcc.restoration.state import resume, written
from restorelcc.restoration.training import Settings, Training
from restorelcc.selection.picks import everything
from restorelcc.selection.predicted_effect import slopes
from restorelcc.workspace import open_workspace

pytestmark = pytest.mark.filterwarnings("ignore:.*meta device because they were offloaded")
TEXTS = make_tokens(texts=6, seed=5)
LAYERS = 5


@pytest.fixture
def deep(tmp_path, tokenizer):
    """The folders of a pair with more layers than a mistake would need to show."""
    dense = make_model(num_hidden_layers=LAYERS)
    for name, model in (("dense", dense), ("pruned", noisy(dense))):
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    return str(tmp_path / "dense"), str(tmp_path / "pruned")


@pytest.fixture
def layers_alive(monkeypatch):
    """How many layers had weights in memory, whenever one more came from disk."""
    alive, seen, read = {}, [], OffloadedWeightsLoader.__getitem__

    def come(self, key):
        numbers = read(self, key).numpy().copy()  # it lives as long as a tensor, or a backward pass, holds it
        alive.setdefault(re.sub(r"\D*(\d+).*|.*", r"\1", key), []).append(weakref.ref(numbers))
        seen.append(sum(any(ref() is not None for ref in refs) for layer, refs in alive.items() if layer))
        return torch.from_numpy(numbers)

    monkeypatch.setattr(OffloadedWeightsLoader, "__getitem__", come)
    return seen


def begun(pair, **changes):
    lost = components(finish(capture(pair, TEXTS)))
    settings = Settings(**({"steps": 6, "batch": 3, "evaluate_every": 3} | changes))
    return Training(pair, lost, everything(lost.shape), TEXTS, TEXTS[:3], settings)


WAYS = [
    {"kind": "constants"},
    {"kind": "constants", "way": "blocks"},
    {"kind": "constants", "bounded": True, "loss": "ce"},
    {"kind": "weights", "where": "all", "way": "blocks", "constants": True},
    {"kind": "weights", "where": "attention", "way": "both"},
    {"kind": "weights", "where": "all", "way": "solved"},
]


@pytest.mark.parametrize("changes", WAYS, ids=lambda changes: "-".join(map(str, changes.values())))
def test_it_comes_to_the_same_with_one_layer_in_memory(deep, layers_alive, changes):
    pair = load_pair(*deep, Loading("disk"))
    for model in (pair.dense, pair.pruned):
        apart = [name for name, part in model.named_modules() if list(part.parameters(recurse=False))]
        assert [name for name in apart if not is_visited(model.get_submodule(name))] == ["model.norm"]
    far, near = begun(pair, **changes), begun(load_pair(*deep, Loading("cpu")), **changes)
    layers_alive.clear()
    ours, theirs = list(far.steps()), list(near.steps())
    assert [step.held_out_loss for step in ours[::3]] == pytest.approx([step.held_out_loss for step in theirs[::3]])
    # On the way back through a network a layer is computed anew while the one above it is still there.
    assert 1 <= max(layers_alive) <= (1 if changes.get("way") == "blocks" else 2)


@pytest.mark.parametrize("changes", [{"kind": "constants"}, {"kind": "weights", "where": "all"}], ids=["c", "weights"])
def test_one_that_is_spread_over_devices_is_trained_to_the_same(deep, monkeypatch, changes):
    room = 0.6 * memory.model_bytes(deep[0], Loading("cpu"))
    monkeypatch.setattr("transformers.integrations.accelerate.accelerate_max_memory", lambda *_: {"cpu": room})
    pair = load_pair(*deep, Loading("map"))
    assert {"cpu", "disk"} <= {str(place) for place in pair.pruned.hf_device_map.values()}
    far, near = begun(pair, **changes), begun(load_pair(*deep, Loading("cpu")), **changes)
    ours, theirs = list(far.steps()), list(near.steps())
    assert [step.held_out_loss for step in ours[::3]] == pytest.approx([step.held_out_loss for step in theirs[::3]])


def test_pruning_says_before_it_reads_the_weights_that_they_do_not_fit(deep, text, tmp_path, monkeypatch):
    size = memory.model_bytes(deep[0], Loading("cpu"))
    monkeypatch.setattr(memory, "free_bytes", lambda _: int(0.9 * size))
    command = ["prune", deep[0], "--calibration", str(text), "--length", "16", "--out", str(tmp_path / "out")]
    for more, said in (([], "Pruning holds the model in memory"), (["--device", "disk"], "cannot stay on disk")):
        result = CliRunner().invoke(app, [*command, *more])
        assert result.exit_code == 2
        assert said in result.stderr
        assert "Loading weights" not in result.stderr
    assert CliRunner().invoke(app, [*command, "--device", "cpu"]).exit_code == 0


def test_changes_take_no_memory_before_their_layer_has_its_turn(deep):
    training = begun(load_pair(*deep, Loading("disk")), kind="weights", where="all", way="blocks", steps=LAYERS)
    held = [sum(part.untyped_storage().nbytes() > 4 for part in training.parameters.moved) for _ in training.steps()]
    maps = len(training.parameters.by_layer[0])
    assert held == [0, *(maps * layer for layer in range(1, LAYERS + 1))]


@pytest.mark.parametrize("stop", [2, 4])
def test_it_goes_on_where_it_stood(deep, stop):
    given = {"kind": "weights", "where": "all", "way": "blocks", "evaluate_every": 2}
    pair = load_pair(*deep, Loading("disk"))
    whole, half, again = (begun(pair, **given) for _ in range(3))
    list(whole.steps())
    for step in half.steps():
        if step.step == stop:
            break
    resume(again, written(half))
    list(again.steps())
    assert curve(again) == curve(whole)


def test_what_does_not_fit_is_left_on_disk_and_that_is_said(deep, text, tmp_path, monkeypatch):
    size = memory.model_bytes(deep[0], Loading("cpu"))
    near = load_pair(*deep)
    monkeypatch.setattr(memory, "free_bytes", lambda _: int(1.5 * size))
    far = load_pair(*deep)
    assert [is_spread(pair.pruned) for pair in (near, far)] == [False, True]
    assert [any("stay on disk" in said for said in pair.remarks()) for pair in (near, far)] == [False, True]
    assert not is_spread(load_pair(*deep, Loading("cpu")).pruned)
    names = ["--dense", deep[0], "--pruned", deep[1]]
    read = ["--calibration", str(text), "--length", "16", "--json"]
    out = ["--steps", "2", "--out", str(tmp_path / "out"), "--elsewhere", ""]
    against = ["evaluate", deep[1], "--against", deep[0], "--text", str(text), "--length", "16", "--json"]
    found = {}
    for free in (1.5, 9):
        monkeypatch.setattr(memory, "free_bytes", lambda _, free=free: int(free * size))
        for command in (["restore", *names, *read, *out], against, ["inspect", *names, *read, "--scores", "gradient"]):
            result = CliRunner().invoke(app, command)
            assert result.exit_code == 0, result.output
            assert ("stay on disk" in result.stderr) == (free == 1.5)
            found[command[0], free] = json.loads(result.stdout)
        shutil.rmtree(tmp_path / "out")
    for command, name in (("restore", "restored"), ("evaluate", "kl")):
        ours, theirs = (found[command, free][name] for free in (1.5, 9))
        assert ours == {key: pytest.approx(value) for key, value in theirs.items()}
    ours, theirs = ([head["gradient"] for head in found["inspect", free]["heads"]] for free in (1.5, 9))
    assert ours == pytest.approx(theirs, rel=1e-4)


@pytest.mark.parametrize("loss", ["kl", "ce"])
def test_a_large_vocabulary_is_looked_at_a_few_texts_and_positions_at_a_time(deep, monkeypatch, loss):
    """Never are float32 logits of a whole text there, and of the dense model states are kept in place of logits."""
    pair, seen, together = load_pair(*deep, Loading("cpu")), [], []
    given = {"kind": "constants", "loss": loss, "steps": 3, "evaluate_every": 1}
    near = begun(pair, **given)
    expected = list(near.steps())
    found = [finish(side_by_side(pair.dense, TEXTS, [(pair.pruned, nullcontext)]))]
    monkeypatch.setattr(perplexity, "LOGITS", 2 * 4 * 16 * vocabulary_size(pair.dense))
    monkeypatch.setattr(losses, "PIECE", 5 * vocabulary_size(pair.dense))
    softmax = torch.Tensor.log_softmax
    monkeypatch.setattr(torch.Tensor, "log_softmax", lambda x, dim: (seen.append(x.numel()), softmax(x, dim))[1])
    far = begun(pair, **given, teacher_bytes=6 * 2 * 16 * 24 * 4)  # the states of all texts, and the logits of none
    pair.pruned.register_forward_pre_hook(lambda _, args: together.append(len(args[0])))
    for ours, theirs in zip(far.steps(), expected, strict=True):
        assert ours.held_out_loss == pytest.approx(theirs.held_out_loss, rel=1e-5)
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-5, nan_ok=True)
    found.append(finish(side_by_side(pair.dense, TEXTS, [(pair.pruned, nullcontext)])))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours.nll, theirs.nll)
    torch.testing.assert_close(found[0][1].kl, found[1][1].kl)
    assert max(seen) <= 5 * vocabulary_size(pair.dense)
    assert max(together) == 2
    if loss == "kl":
        assert {row.shape[-1] for row in far._teachers[0]._kept.values()} == {pair.geometry.d_model}


def test_slopes_hold_the_weights_of_a_layer(deep, layers_alive):
    far, near = load_pair(*deep, Loading("disk")), load_pair(*deep, Loading("cpu"))
    layers_alive.clear()
    ours = finish(slopes(far, TEXTS, "kl"))
    assert max(layers_alive) <= 2
    theirs = finish(slopes(near, TEXTS, "kl"))
    torch.testing.assert_close(ours.by_text, theirs.by_text)
    torch.testing.assert_close(ours.likelihood, theirs.likelihood)


def test_the_app_leaves_on_disk_what_is_asked_to_stay_there(deep, text):
    recipe = Recipe(*deep, calibration=str(text), evaluation=str(text), elsewhere="", length=16)
    far, near = (finish(open_workspace(replace(recipe, loading=Loading(device)))) for device in ("disk", "cpu"))
    assert [is_spread(each.pair().pruned) for each in (far, near)] == [True, False]
    torch.testing.assert_close(far.lost.energy, near.lost.energy)


def test_what_waits_of_the_dense_model_is_bounded(own_pair, tokens, monkeypatch):
    pair = own_pair
    whole, seen = finish(capture(pair, tokens)), []
    monkeypatch.setattr(statistics, "HELD", 3 * 16 * 3 * 32 * 4)
    pair.dense.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    bounded = finish(capture(pair, tokens))
    assert seen == [3, 3]
    # A batch is summed in float32: as closely as that agrees, by the largest of the numbers.
    most = 1e-6 * float(whole.second_moment.abs().max())
    torch.testing.assert_close(bounded.second_moment, whole.second_moment, rtol=0, atol=most)
