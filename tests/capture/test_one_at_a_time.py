"""A pair of which one model is in memory at a time gives what the joint capture gives."""

import gc
import json
import os
import shutil
import subprocess
import sys
import weakref
from dataclasses import replace
from functools import partial

import pytest
import torch
from conftest import make_model, make_tokens, noisy
from families import foreign
from platformdirs import user_cache_path
from typer.testing import CliRunner

from restorelcc.artifacts.export import save_checkpoint
from restorelcc.capture import one_at_a_time
from restorelcc.capture.one_at_a_time import capture_one_at_a_time
from restorelcc.capture.statistics import MEANS, capture
from restorelcc.cli.options import app
from restorelcc.errors import LoadError, PairMismatch, SettingError, WriteError
from restorelcc.models import memory
from restorelcc.models.loading import Loading, load_model
from restorelcc.models.matching import KEPT_FILE
from restorelcc.models.memory import free_bytes, model_bytes
from restorelcc.models.pair import OneAtATime, load_pair, skeleton_pair
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.text.tokens import Tokens

ROOT = __file__.rsplit("/", 3)[0]


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
    return list(user_cache_path("restorelcc").rglob(".restorelcc-draft-*/*"))


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

    monkeypatch.setattr(one_at_a_time, "read_dense", full)
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


# --- memory -----------------------------------------------------------------------------------------------------

LIMITED = """
import gc, resource, sys
from functools import partial
import torch
from conftest import make_tokens
from typer.testing import CliRunner

from restorelcc.models import memory
from restorelcc.cli.options import app
from restorelcc.capture.statistics import capture
from restorelcc.errors import LoadError
from restorelcc.models.memory import free_bytes, model_bytes
from restorelcc.models.loading import load_model
from restorelcc.models.pair import load_pair, skeleton_pair
from restorelcc.capture.one_at_a_time import capture_one_at_a_time
from restorelcc.progress import finish

def held():
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmData"))

dense, pruned, small, limit, out = sys.argv[1:]
tokens, few = make_tokens(4, 16), {"samples": 16, "batch": 2}
# All that libraries load and keep is there before the limit is set: both ways, on a tiny pair.
finish(capture(load_pair(small, small), tokens))
finish(capture_one_at_a_time(skeleton_pair(small, small), *[partial(load_model, small)] * 2, tokens))
gc.collect()
resource.setrlimit(resource.RLIMIT_DATA, (held() + int(limit), resource.RLIM_INFINITY))
loaders = partial(load_model, dense), partial(load_model, pruned)
torch.save(finish(capture_one_at_a_time(skeleton_pair(dense, pruned), *loaders, tokens, **few)), out)
try:
    load_pair(dense, pruned)
except LoadError as error:
    print(error)
"""


def test_under_a_limit_of_1_3_models_it_equals_the_joint_capture(tmp_path, folders, tokenizer):
    """The kernel refuses a process that has loaded all libraries more than 1.3 times one model's weights of private
    writable memory, in which weights count although they are mapped from their files."""
    shape = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 6, "head_dim": 64}
    for name in ("big", "pruned"):
        model = make_model(num_attention_heads=12, num_key_value_heads=12, **shape)
        if name == "pruned":
            model = noisy(model)
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
    big, pruned = str(tmp_path / "big"), str(tmp_path / "pruned")
    size = (tmp_path / "big" / "model.safetensors").stat().st_size
    assert size > 200e6
    # Blocks of a megabyte go back to the system once they are free, so that what is free does not count.
    quiet = {"MALLOC_ARENA_MAX": "2", "MALLOC_MMAP_THRESHOLD_": "1000000", "OMP_NUM_THREADS": "1"}
    environment = os.environ | quiet | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT}/tests"}
    command = [sys.executable, "-c", LIMITED, big, pruned, str(folders[0]), str(int(1.3 * size)), tmp_path / "found"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{pruned} does not fit into memory")
    found = torch.load(tmp_path / "found", weights_only=False)
    # On one thread too: how a sum is split among threads changes its last digits, and so means of differences.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        theirs = joint((big, pruned), make_tokens(4, 16), samples=16, batch=2)
    finally:
        torch.set_num_threads(threads)
    same(found, theirs)


def test_sizes_are_those_of_the_weights_once_loaded(folders, tmp_path):
    for how, stored in ((Loading("cpu"), torch.float32), (Loading("cpu", "bfloat16"), torch.float32),
                        (Loading("cpu"), torch.bfloat16), (Loading("cpu"), torch.float16)):  # fmt: skip
        folder = tmp_path / "model"
        model = make_model(num_hidden_layers=5).to(stored)
        model.save_pretrained(folder, max_shard_size="20kB")
        assert (folder / "model.safetensors.index.json").is_file()
        loaded = load_model(str(folder), how)
        assert model_bytes(str(folder), how) == sum(p.numel() * p.element_size() for p in loaded.parameters())
        shutil.rmtree(folder)
    assert model_bytes("someone/something", Loading()) is None


def free(monkeypatch, tmp_path, amount, group=None):
    """As if the system had `amount` bytes free, and a container `group` = (limit, used, cached)."""
    (tmp_path / "meminfo").write_text(f"MemTotal: 9999999 kB\nMemAvailable:  {amount // 1024} kB\n")
    if group is not None:
        for name, value in zip(("memory.max", "memory.current", "memory.stat"), group, strict=True):
            (tmp_path / name).write_text(f"anon 1\ninactive_file {value}\n" if name == "memory.stat" else f"{value}\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)


def test_free_memory_is_the_systems_and_the_containers(monkeypatch, tmp_path):
    free(monkeypatch, tmp_path, 8192)
    assert free_bytes(Loading("cpu")) == 8192
    free(monkeypatch, tmp_path, 8192, (10_000, 6_000, 1_000))
    assert free_bytes(Loading("cpu")) == 5_000
    free(monkeypatch, tmp_path, 8192, ("max", 6_000, 1_000))
    assert free_bytes(Loading("cpu")) == 8192
    (tmp_path / "meminfo").unlink()
    assert free_bytes(Loading("cpu")) is None


def test_inspect_chooses_by_size_and_says_so(folders, tmp_path, monkeypatch):
    text = tmp_path / "text.txt"
    text.write_text("the dog ran " * 60)
    size = model_bytes(str(folders[0]), Loading("cpu"))
    options = ["inspect", "--dense", folders[0], "--pruned", folders[1], "--calibration", text, "--length", 16]
    options += ["--device", "cpu", "--json"]
    given, asked = {}, []
    for side in ("dense", "pruned"):
        load, name = getattr(OneAtATime, side), str(folders[side == "pruned"])
        monkeypatch.setattr(OneAtATime, side, lambda self, load=load, name=name: (asked.append(name), load(self))[1])
    for name, amount, more in (
        ("both", 4 * size, []),
        ("small", 2 * size, []),
        ("forced", 4 * size, ["--one-at-a-time"]),
    ):
        free(monkeypatch, tmp_path, amount)
        asked.clear()
        result = CliRunner().invoke(app, [*map(str, options), *more])
        assert result.exit_code == 0, result.output
        given[name] = json.loads(result.stdout)
        assert ("They are read one at a time" in result.stderr) == (name == "small")
        assert asked == ([] if name == "both" else [str(folder) for folder in folders])
    for name in ("small", "forced"):
        assert [list(head.values()) for head in given[name]["heads"]] == [
            pytest.approx(list(head.values()), rel=1e-6) for head in given["both"]["heads"]
        ]
    result = CliRunner().invoke(app, [*map(str, options), "--one-at-a-time", "--scores", "gradient"])
    assert result.exit_code == 2
    assert "need both models at once" in result.stderr


def test_text_of_the_dense_models_own_and_the_embedded_pair(pair, folders, monkeypatch):
    """`self` samples from the dense model, which is loaded for it; `demo` is made first, and has a place on disk."""
    made = replace(pair, pruned_name=str(folders[1]))
    monkeypatch.setattr("restorelcc.cli.commands.inspect.open_pair", lambda *_: (made, None))
    options = ["--calibration", "self", "--windows", "2", "--length", "16", "--one-at-a-time", "--json"]
    for pruned in (str(folders[1]), "demo"):
        result = CliRunner().invoke(app, ["inspect", "--dense", str(folders[0]), "--pruned", pruned, *options])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["tokens"] == 32
