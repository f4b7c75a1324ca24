"""What was found, there and back through the user's cache."""

import json
import random
from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from conftest import make_tokens
from platformdirs import user_cache_path
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from restorelcc.artifacts.findings import (
    FACTS,
    TENSORS,
    Findings,
    Recipe,
    Size,
    keep_findings,
    kept_findings,
    load_findings,
    save_findings,
)
from restorelcc.errors import LoadError, SettingError, WriteError
from restorelcc.evaluation.perplexity import token_loss
from restorelcc.models.loading import Loading
from restorelcc.pruning.layerwise import Pruning
from restorelcc.pruning.sparsity import measure_sparsity
from restorelcc.text import sources
from restorelcc.text.tokens import Tokens


def same(one, other):
    """Equal to the last bit, in dtype too."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if is_dataclass(one):
        parts = [field.name for field in fields(one)]
        return type(one) is type(other) and all(same(getattr(one, name), getattr(other, name)) for name in parts)
    return one == other


@pytest.fixture(scope="module")
def found(pair, tokens, statistics):
    full = make_tokens(seed=1)
    real = full.real.clone()
    real[1, 9:] = False
    answers = full.scored & real
    answers[:, :5] = False
    evaluation = Tokens(full.ids, real, full.scored & real, answers)  # three masks, all different
    live = evaluation[:2]
    return Findings(
        geometry=pair.geometry,
        dense_name="dense",
        pruned_name="ünïcode 60 %",
        dense_size=Size(100, 99),
        pruned_size=Size(100, 40),
        sparsity=measure_sparsity(pair.pruned),
        calibration=tokens,
        evaluation=evaluation,
        live=live,
        statistics=statistics,
        live_dense=token_loss(pair.dense, live),
        live_pruned=token_loss(pair.pruned, live),
    )


def test_there_and_back_exactly(found, tmp_path):
    save_findings(tmp_path / "kept", found)
    again = load_findings(tmp_path / "kept")
    assert same(again, found)
    assert not same(again, replace(found, live=found.live[:1]))  # `same` can tell


def test_saving_again_replaces(found, tmp_path):
    other = replace(found, pruned_name="other")
    for one in (found, other):
        save_findings(tmp_path / "kept", one)
    assert same(load_findings(tmp_path / "kept"), other)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def cut_short(folder):
    whole = (folder / TENSORS).read_bytes()
    (folder / TENSORS).write_bytes(whole[: len(whole) // 2])


def without(name):
    def damage(folder):
        tensors = load_file(folder / TENSORS)
        del tensors[name]
        save_file(tensors, folder / TENSORS)

    return damage


def with_fact(**changes):
    def damage(folder):
        (folder / FACTS).write_text(json.dumps(json.loads((folder / FACTS).read_text()) | changes))

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        cut_short,
        lambda folder: (folder / TENSORS).unlink(),
        lambda folder: (folder / FACTS).unlink(),
        lambda folder: (folder / FACTS).write_text('{"format": 1'),
        lambda folder: (folder / FACTS).write_text("[]"),
        without("statistics.mean"),
        without("live.ids"),
        without("pruned.nll"),
        with_fact(format=99),
        with_fact(names=["dense"]),
        with_fact(sizes=[]),
        with_fact(geometry={"n_layers": 3}),
        with_fact(sparsity=[{"layer": 0}]),
    ],
)
def test_a_damaged_folder_is_said_so_and_counts_as_none(found, damage):
    recipe = Recipe()
    keep_findings(recipe, found)
    (folder,) = (user_cache_path("restorelcc") / "findings").iterdir()
    assert same(kept_findings(recipe), found)
    damage(folder)
    with pytest.raises(LoadError):
        load_findings(folder)
    assert kept_findings(recipe) is None
    keep_findings(recipe, found)
    assert same(kept_findings(recipe), found)


@pytest.mark.parametrize(
    "changes",
    [
        {"windows": 95},
        {"captured": 31},
        {"evaluated": 127},
        {"length": 256},
        {"pruning": Pruning("wanda", 0.61)},
        {"pruning": Pruning("magnitude", 0.6)},
        {"pruning": Pruning("wanda", pattern="2:4")},
        {"calibration": sources.SELF},
        {"loading": Loading(dtype="float32")},
    ],
)
def test_another_recipe_finds_nothing_of_this_one(found, changes):
    keep_findings(Recipe(), found)
    assert kept_findings(Recipe()) is not None
    assert kept_findings(replace(Recipe(), **changes)) is None


def test_other_texts_and_versions_find_nothing(found, tmp_path, monkeypatch):
    keep_findings(Recipe(), found)
    with monkeypatch.context() as changed:
        changed.setattr("restorelcc.artifacts.findings.__version__", "another")
        assert kept_findings(Recipe()) is None
    with monkeypatch.context() as changed:
        changed.setattr("restorelcc.artifacts.findings.LIVE_TOKENS", 1024)
        assert kept_findings(Recipe()) is None
    for purpose in ("calibration", "evaluation"):
        (tmp_path / f"{purpose}.txt").write_bytes((sources.ASSETS / f"{purpose}.txt").read_bytes())
    with monkeypatch.context() as changed:
        changed.setattr(sources, "ASSETS", tmp_path)
        assert kept_findings(Recipe()) is not None
        with (tmp_path / "evaluation.txt").open("a") as file:
            file.write("One more story.")
        assert kept_findings(Recipe()) is None


@pytest.mark.parametrize(
    "changes", [{"dense": "a/b"}, {"pruned": "a/b"}, {"calibration": "a.txt"}, {"evaluation": "c4"}]
)
def test_only_the_embedded_pair_is_kept(found, changes):
    keep_findings(Recipe(**changes), found)
    assert kept_findings(Recipe(**changes)) is None
    assert not user_cache_path("restorelcc").exists()


def test_a_cache_that_cannot_be_written_costs_nothing_more(found, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(WriteError):
        save_findings(tmp_path / "file" / "findings", found)
    keep_findings(Recipe(), found)
    assert kept_findings(Recipe()) is None


def test_a_full_disk_is_a_write_error(found, tmp_path, monkeypatch):
    """safetensors reports it by an error of its own, which is no OSError."""

    def full(*_):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("restorelcc.artifacts.findings.save_file", full)
    with pytest.raises(WriteError, match="No space left"):
        save_findings(tmp_path / "kept", found)
    keep_findings(Recipe(), found)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"windows": 1}, "at least 2"),
        ({"captured": 0}, "captured is 0"),
        ({"evaluated": -1}, "evaluated is -1"),
        ({"length": 1}, "1 token"),
    ],
)
def test_nonsense_recipes_are_refused(changes, says):
    with pytest.raises(SettingError, match=says):
        Recipe(**changes)


def test_a_given_pruned_model_makes_the_rule_of_pruning_moot():
    one, other = (Recipe(pruned="a/b", pruning=Pruning("wanda", share)) for share in (0.5, 0.7))
    assert one == other
    assert hash(one) == hash(other)
    assert Recipe(pruning=Pruning("wanda", 0.5)) != Recipe(pruning=Pruning("wanda", 0.7))


def test_any_bit_that_differs_counts_as_damaged(found):
    recipe, draw = Recipe(), random.Random(0)
    keep_findings(recipe, found)
    (folder,) = (user_cache_path("restorelcc") / "findings").iterdir()
    for name in (FACTS, TENSORS):
        whole = (folder / name).read_bytes()
        for _ in range(30):
            content = bytearray(whole)
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            (folder / name).write_bytes(content)
            assert kept_findings(recipe) is None
        (folder / name).write_bytes(whole)
        assert same(kept_findings(recipe), found)
