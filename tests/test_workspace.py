"""A pair opened: what is found is what the models give, and the models are loaded once."""

import random
import threading
import time
from dataclasses import replace

import pytest
import torch
from conftest import WORDS

from restorelcc import workspace as module
from restorelcc.artifacts.findings import Recipe, keep_findings, load_findings, save_findings
from restorelcc.capture.components import components
from restorelcc.capture.statistics import MEANS, capture
from restorelcc.errors import LoadError, SettingError, TextError
from restorelcc.evaluation.perplexity import token_loss
from restorelcc.progress import Standing, finish
from restorelcc.pruning.layerwise import Pruning
from restorelcc.pruning.sparsity import measure_sparsity
from restorelcc.workspace import Workspace, open_workspace, pruned_name

SMALL = {"windows": 8, "captured": 4, "evaluated": 10, "length": 16}


@pytest.fixture
def story(tmp_path):
    """400 words: 25 windows of 16."""
    path = tmp_path / "story.txt"
    path.write_text(" ".join(random.Random(0).choices(WORDS, k=400)))
    return str(path)


@pytest.fixture
def recipe(folders, story):
    dense, pruned = map(str, folders)
    return Recipe(dense, pruned, calibration=story, evaluation=story, **SMALL)


def test_what_is_found_is_what_the_models_give(recipe, pair):
    opened = finish(open_workspace(recipe))
    found = opened.findings
    assert torch.equal(found.live_dense.nll, token_loss(pair.dense, found.live).nll)
    assert torch.equal(found.live_pruned.nll, token_loss(pair.pruned, found.live).nll)
    plain = finish(capture(pair, found.calibration[:4]))
    assert all(torch.equal(getattr(found.statistics, name), getattr(plain, name)) for name in MEANS)
    assert torch.equal(opened.lost.magnitude, components(plain).magnitude)
    assert opened.loss.relative_error.shape == (3, 4)
    assert found.sparsity == measure_sparsity(pair.pruned)
    assert (found.dense_name, found.pruned_name) == (recipe.dense, recipe.pruned)
    assert found.dense_size.parameters == found.dense_size.nonzero == pair.dense.num_parameters()
    assert found.pruned_size.nonzero == found.dense_size.nonzero - found.sparsity.zeros


def test_texts_are_cut_as_the_recipe_says(recipe):
    opened = finish(open_workspace(recipe))
    found = opened.findings
    assert found.calibration.ids.shape == (8, 16)
    assert found.evaluation.ids.shape == (10, 16)
    assert torch.equal(found.live.ids[:10], found.evaluation.ids)  # one file for both, one length
    together = torch.cat([opened.training.ids, opened.held_out.ids])
    assert sorted(together.tolist()) == sorted(found.calibration.ids.tolist())
    assert len(opened.held_out) == 1


def test_progress_says_what_is_done(recipe):
    steps = list(open_workspace(recipe))
    assert all(0 <= step.done <= step.total for step in steps)
    stages = list(dict.fromkeys(step.what for step in steps))
    assert stages == [f"loading {recipe.dense}", "reading head activations", "measuring perplexity"]


def test_models_are_loaded_once_by_whoever_asks_first(recipe, pair, monkeypatch):
    found = finish(open_workspace(recipe)).findings
    loads = []

    def slowly(*_):
        loads.append(threading.get_ident())
        time.sleep(0.1)
        return pair

    monkeypatch.setattr(module, "load_pair", slowly)
    opened = Workspace(recipe, found)
    assert loads == []
    got, barrier = [], threading.Barrier(2)

    def ask():
        barrier.wait()
        got.append(opened.pair())

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [pair, pair]
    assert len(loads) == 1


def test_a_failed_load_is_tried_again(recipe, pair, monkeypatch):
    found = finish(open_workspace(recipe)).findings
    answers = [LoadError("gone"), pair]

    def load(*_):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(module, "load_pair", load)
    opened = Workspace(recipe, found)
    with pytest.raises(LoadError, match="gone"):
        opened.pair()
    assert opened.pair() is pair


def test_what_is_kept_needs_no_model(recipe, monkeypatch):
    found = finish(open_workspace(recipe)).findings
    keep_findings(Recipe(), found)

    def never(*_):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(module, "demo_dense", never)
    opened = finish(open_workspace(Recipe()))
    assert torch.equal(opened.findings.live_pruned.nll, found.live_pruned.nll)
    with pytest.raises(AssertionError, match="was loaded"):
        opened.pair()


def test_one_dense_model_is_pruned_here(folders, story, pair):
    recipe = Recipe(str(folders[0]), pruning=Pruning("wanda", 0.5), calibration=story, evaluation=story, **SMALL)
    opened = finish(open_workspace(recipe))
    assert opened.findings.sparsity.sparsity == pytest.approx(0.5, abs=0.01)
    assert opened.findings.pruned_name == "wanda 50 %"
    dense = opened.pair().dense.state_dict()
    assert all(torch.equal(value, dense[name]) for name, value in pair.dense.state_dict().items())
    # Without the models at hand, the same pair is made once more.
    remade = Workspace(recipe, opened.findings).pair().pruned.state_dict()
    assert all(torch.equal(value, remade[name]) for name, value in opened.pair().pruned.state_dict().items())


def test_a_pair_without_half_its_heads_is_opened_and_kept(folders, story, tmp_path):
    recipe = Recipe(str(folders[0]), pruning=Pruning("structured", 0.5), calibration=story, evaluation=story, **SMALL)
    opened = finish(open_workspace(recipe))
    assert opened.findings.gone == "2 of 4 heads a layer are gone; the checkpoint says which."
    assert opened.findings.geometry.n_heads == 4
    assert opened.loss.relative_error[~opened.lost.present].tolist() == pytest.approx([1] * 6)
    assert opened.lost.present.sum(1).tolist() == [2, 2, 2]
    assert opened.findings.pruned_size.parameters < opened.findings.dense_size.parameters
    save_findings(tmp_path / "kept", opened.findings)
    again = Workspace(recipe, load_findings(tmp_path / "kept"))
    assert torch.equal(again.lost.present, opened.lost.present)
    assert again.findings.gone == opened.findings.gone


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "wanda 60 %"),
        ({"pruning": Pruning("magnitude", 0.29)}, "magnitude 29 %"),
        ({"pruning": Pruning("wanda", 0.625)}, "wanda 62.5 %"),
        ({"pruning": Pruning("wanda", 0.004)}, "wanda 0.4 %"),
        ({"pruning": Pruning("wanda", pattern="2:4")}, "wanda 2:4"),
        ({"pruning": Pruning("structured", 0.25)}, "structured 25 %"),
        ({"pruning": Pruning("sparsegpt", 0.7, allocation="owl")}, "sparsegpt owl 70 %"),
        ({"pruned": "owner/sparse"}, "owner/sparse"),
    ],
)
def test_a_pruned_model_is_called_what_people_call_it(changes, name):
    assert pruned_name(Recipe(**changes)) == name


def test_what_cannot_be_opened_says_why(folders, story, tmp_path):
    dense, pruned = map(str, folders)
    with pytest.raises(LoadError, match="nowhere"):
        finish(open_workspace(Recipe(str(tmp_path / "nowhere"), calibration=story, evaluation=story, **SMALL)))
    with pytest.raises(TextError, match="missing"):
        finish(open_workspace(Recipe(dense, pruned, calibration=str(tmp_path / "missing.txt"), **SMALL)))
    (tmp_path / "short.txt").write_text("once upon a time")
    short = str(tmp_path / "short.txt")
    with pytest.raises(TextError, match="cannot be split"):
        finish(open_workspace(Recipe(dense, pruned, calibration=short, evaluation=short, **SMALL)))


@pytest.fixture
def cramped(monkeypatch):
    """A machine on which one of the models fits."""
    monkeypatch.setattr(module, "too_big", lambda *_: "Both need 9.0 GB, and 5.0 GB are free.")


def test_a_pair_bigger_than_memory_is_read_one_model_at_a_time(recipe, cramped, monkeypatch):
    steps = []
    apart = finish(open_workspace(recipe), steps.append)
    assert any("one model at a time" in step.what for step in steps)
    monkeypatch.setattr(module, "too_big", lambda *_: "")
    joint = finish(open_workspace(recipe))
    for name in MEANS:
        ours, theirs = (getattr(one.findings.statistics, name) for one in (apart, joint))
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
    for name in ("live_dense", "live_pruned"):
        assert torch.equal(getattr(apart.findings, name).nll, getattr(joint.findings, name).nll)
    assert (apart.findings.dense_size, apart.findings.sparsity) == (joint.findings.dense_size, joint.findings.sparsity)
    picked, again = (list(one.prefix().again(1))[-1] for one in (apart, joint))
    assert picked == again


@pytest.mark.parametrize("reopened", [False, True])
def test_of_such_a_pair_the_pruned_model_is_there_alone(recipe, cramped, reopened):
    opened = finish(open_workspace(recipe))
    if reopened:
        opened = Workspace(recipe, opened.findings)
    alone = opened.pair(dense=False)
    assert alone.dense.device.type == "meta"
    found = token_loss(alone.pruned, opened.findings.live).nll
    assert torch.equal(found, opened.findings.live_pruned.nll)
    with pytest.raises(LoadError, match=r"5.0 GB are free.*half precision"):
        opened.pair()


def test_layers_in_order_need_both(recipe, cramped):
    with pytest.raises(SettingError, match="needs both"):
        finish(open_workspace(replace(recipe, in_order=True)))


def test_what_was_special_is_said(recipe, cramped, monkeypatch):
    apart = finish(open_workspace(recipe))
    assert [one for one in apart.remarks() if "one at a time" in one] == apart.remarks()
    assert Workspace(recipe, apart.findings).remarks() == []  # no models yet
    monkeypatch.setattr(module, "too_big", lambda *_: "")
    assert finish(open_workspace(recipe)).remarks() == []


# --- models that are not there yet --------------------------------------------------------------------------------


def test_loading_says_how_far_it_is_and_reads_no_text_again(folders, story, monkeypatch):
    recipe = Recipe(str(folders[0]), pruning=Pruning("wanda", 0.5), calibration=story, evaluation=story, **SMALL)
    opened = finish(open_workspace(recipe))
    closed = Workspace(recipe, opened.findings)
    monkeypatch.setattr(module, "calibration_tokens", lambda *_: pytest.fail("the text was read again"))
    assert (closed.loaded, closed.models.standing) == (False, Standing.ABSENT)
    steps = [step.what for step in closed.loading()]
    assert steps[0] == f"loading {recipe.dense}"
    assert "pruning layer 1 of 3" in steps
    assert closed.loaded
    assert list(closed.loading()) == []
    first, again = opened.pair().pruned.state_dict(), closed.pair().pruned.state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())


def test_the_embedded_pair_is_loaded_in_two_steps_between_which_it_can_be_stopped(recipe, pair, monkeypatch):
    opened = Workspace(Recipe(), finish(open_workspace(recipe)).findings)
    monkeypatch.setattr(module, "demo_dense", lambda *_: (pair.dense, pair.tokenizer))
    monkeypatch.setattr(module, "demo_pair", lambda *_: pytest.fail("it was not stopped"))
    loading = opened.loading()
    assert [next(loading).what for _ in range(2)] == ["loading demo", "loading wanda 60 %"]
    loading.close()
    assert (opened.loaded, opened.models.standing) == (False, Standing.ABSENT)


def test_nothing_waits_for_models_that_somebody_loads(recipe, pair, monkeypatch):
    """What is known without them can be asked for meanwhile: no lock is held while they load."""
    found = finish(open_workspace(recipe)).findings
    began, go = threading.Event(), threading.Event()

    def slowly(*_):
        began.set()
        assert go.wait(10)
        return pair

    monkeypatch.setattr(module, "load_pair", slowly)
    opened = Workspace(recipe, found)
    loader = threading.Thread(target=opened.pair)
    loader.start()
    assert began.wait(10)
    assert (opened.loaded, opened.models.standing, opened.remarks()) == (False, Standing.MAKING, [])
    steps = opened.loading()
    assert next(steps).what == f"loading {recipe.dense}"  # somebody else's progress
    go.set()
    loader.join(10)
    assert finish(steps) is pair


def test_a_measurement_that_fails_leaves_no_half_of_a_prefix(recipe):
    """The second batch fails once: what the first left must not be taken for the whole."""
    opened = finish(open_workspace(recipe))
    model = opened.pair().pruned
    assert len(opened.findings.live) > 8  # a batch
    expected = token_loss(model, opened.findings.live)
    fails = [False, True]

    def failing(*_):
        if fails and fails.pop(0):
            raise RuntimeError("out of memory")

    hook = model.register_forward_pre_hook(failing)
    try:
        with pytest.raises(RuntimeError, match="out of memory"):
            opened.prefix()
        assert not fails
        assert torch.equal(finish(opened.prefix().again(2)).nll, expected.nll)
    finally:
        hook.remove()
