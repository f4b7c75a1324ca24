"""A pair of which one model is in memory at a time gives what the joint capture gives."""

import gc
import weakref
from functools import partial

import pytest
import torch
from conftest import make_model, make_tokens
from platformdirs import user_cache_path
from test_matching import foreign

from restorelcc.capture import MEANS, capture
from restorelcc.errors import LoadError, PairMismatch, SettingError, WriteError
from restorelcc.export import save_checkpoint
from restorelcc.matching import KEPT_FILE
from restorelcc.models import Loading, load_model, load_pair, skeleton_pair
from restorelcc.one_at_a_time import capture_one_at_a_time
from restorelcc.progress import finish
from restorelcc.pruning import Pruning, prune
from restorelcc.text import Tokens


def apart(folders, tokens, loading=None, **settings):
    """Captured one at a time, by names alone."""
    names = [str(folder) for folder in folders]
    loaders = [partial(load_model, name, loading) for name in names]
    return finish(capture_one_at_a_time(skeleton_pair(*names, loading), *loaders, tokens, **settings))


def joint(folders, tokens, loading=None, **settings):
    return finish(capture(load_pair(*map(str, folders), loading), tokens, **settings))


def same(ours, theirs):
    assert (ours.geometry, ours.positions, ours.count) == (theirs.geometry, theirs.positions, theirs.count)
    assert torch.equal(ours.present, theirs.present)
    for name in MEANS:
        torch.testing.assert_close(getattr(ours, name), getattr(theirs, name), rtol=1e-6, atol=1e-9)
    for name in ("text", "pos", "priority"):
        assert torch.equal(getattr(ours.samples, name), getattr(theirs.samples, name))
    for name in ("lost", "dense"):
        torch.testing.assert_close(getattr(ours.samples, name), getattr(theirs.samples, name), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("settings", [{}, {"positions": "last"}, {"samples": 7, "seed": 3, "batch": 4}])
def test_it_equals_the_joint_capture(folders, tokens, settings):
    same(apart(folders, tokens, **settings), joint(folders, tokens, **settings))


def test_padding_counts_for_nothing(folders):
    full = make_tokens(texts=3, length=12)
    real = full.real.clone()
    real[1, 7:] = False
    ragged = Tokens(torch.where(real, full.ids, 0), real, full.scored & real, full.scored & real)
    for positions in ("all", "last"):
        same(apart(folders, ragged, positions=positions, batch=2), joint(folders, ragged, positions=positions, batch=2))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_what_waits_on_disk_loses_nothing_in_half_precision(folders, tokens, dtype):
    how = Loading(device="cpu", dtype=dtype)
    same(apart(folders, tokens, how), joint(folders, tokens, how))


def test_text_beyond_the_budget_is_read_in_rounds(folders, tokens):
    """Two texts a round, and never more on disk than was allowed."""
    loads, sizes = [], []

    def load(name):
        loads.append(name)
        return load_model(str(folders[("dense", "pruned").index(name)]))

    budget = 2 * 16 * 3 * 32 * 4
    work = capture_one_at_a_time(
        skeleton_pair(*map(str, folders)), partial(load, "dense"), partial(load, "pruned"), tokens, budget=budget + 100
    )
    steps = []

    def look(step):
        steps.append(step)
        sizes.extend(path.stat().st_size for path in kept())

    same(finish(work, look), joint(folders, tokens, batch=2))
    assert loads == ["dense", "pruned"] * 3
    assert max(sizes) == budget
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == steps[-1].total == 12
    assert all("one model at a time" in step.what for step in steps)


def kept():
    """What lies in the user's cache of the dense model's activations."""
    return list(user_cache_path("restorelcc").rglob("capture-*/*"))


def test_only_one_model_is_alive_at_a_time_and_the_file_goes(folders, tokens):
    alive = weakref.WeakSet()

    def load(folder):
        gc.collect()
        assert len(alive) == 0
        model = load_model(str(folder))
        alive.add(model)
        return model

    work = capture_one_at_a_time(
        skeleton_pair(*map(str, folders)),
        *(partial(load, folder) for folder in folders),
        tokens,
        batch=2,
        budget=20_000,
    )
    finish(work)
    assert not kept()


def test_the_file_goes_when_it_is_stopped_or_fails(folders, tokens):
    def fails():
        raise LoadError("gone")

    dense = partial(load_model, str(folders[0]))
    with pytest.raises(LoadError, match="gone"):
        finish(capture_one_at_a_time(skeleton_pair(*map(str, folders)), dense, fails, tokens))
    assert not kept()
    work = capture_one_at_a_time(skeleton_pair(*map(str, folders)), dense, fails, tokens)
    next(work), next(work)
    assert kept()
    work.close()
    assert not kept()


def test_no_room_on_disk_is_one_message(folders, tokens, monkeypatch):
    with pytest.raises(WriteError, match=r"can be had in .*last position alone"):
        apart(folders, tokens, budget=1000)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("restorelcc.one_at_a_time.read_dense", full)
    with pytest.raises(WriteError, match=r"No space left on device.*XDG_CACHE_HOME"):
        apart(folders, tokens)


def test_nonsense_is_refused_before_anything_is_loaded(folders, tokens):
    pair = skeleton_pair(*map(str, folders))
    with pytest.raises(SettingError, match="all or last"):
        finish(capture_one_at_a_time(pair, None, None, tokens, positions="first"))
    with pytest.raises(SettingError, match="no tokens"):
        finish(capture_one_at_a_time(pair, None, None, tokens[:0]))


# --- the pair without its weights -------------------------------------------------------------------------------


def test_a_pair_without_weights_says_what_the_pair_says(folders, pair):
    bare = skeleton_pair(*map(str, folders))
    assert all(parameter.is_meta for model in (bare.dense, bare.pruned) for parameter in model.parameters())
    assert bare.geometry == pair.geometry
    assert torch.equal(bare.present, pair.present)
    assert bare.tokenizer("the dog").input_ids == pair.tokenizer("the dog").input_ids


def test_a_pair_of_different_shapes_is_refused_before_its_weights_are_read(folders):
    make_model(num_hidden_layers=2).save_pretrained(folders[1])
    (folders[1] / "model.safetensors").unlink()
    with pytest.raises(PairMismatch, match="n_layers 3 against 2"):
        skeleton_pair(*map(str, folders))


DENSE = {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 8, "hidden_size": 48}


@pytest.mark.parametrize("how", ["file", "config", "weights"])
def test_heads_that_are_gone_are_lost_whole_all_the_same(tmp_path, tokenizer, tokens, how):
    dense = make_model(**DENSE)
    narrow = finish(prune(dense, tokens, Pruning("structured", 0.5)))
    save_checkpoint(tmp_path / "dense", dense, tokenizer)
    save_checkpoint(tmp_path / "pruned", foreign(narrow) if how == "weights" else narrow, tokenizer)
    if how == "config":
        (tmp_path / "pruned" / KEPT_FILE).unlink()
    folders = tmp_path / "dense", tmp_path / "pruned"
    match = skeleton_pair(*map(str, folders)).match
    assert match.heads.tolist() == narrow.config.pruning["kept_heads"]
    assert (match.cosine is None) == (how != "weights")
    ours = apart(folders, tokens)
    same(ours, joint(folders, tokens))
    assert int(ours.present.sum()) == 12
