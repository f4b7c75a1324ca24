"""Adapters, checkpoints, runs and folders: there and back, whole or not at all."""

import json
import subprocess
import sys

import pytest
import torch
from conftest import make_tokens

from restorelcc.artifacts.export import adapter_fits, load_adapter, save_adapter, save_checkpoint
from restorelcc.artifacts.runs import discard_run, list_runs, load_run, save_run
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.errors import LoadError, WriteError
from restorelcc.hf.layout import HeadGeometry
from restorelcc.models.loading import load_model
from restorelcc.pruning.sparsity import measure_sparsity
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything
from restorelcc.storage.folders import whole


@pytest.fixture
def c():
    return Constants(torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def restoration(pair, lost):
    texts = make_tokens(texts=8)
    settings = Settings(steps=4, batch=2, evaluate_every=2)
    training = Training(pair, lost, everything(lost.shape), texts[:6], texts[6:], settings)
    list(training.steps())
    return training.result()


def test_an_adapter_there_and_back(pair, c, tmp_path):
    save_adapter(tmp_path / "adapter", c, pair.geometry, {"dense": "a", "figures": {"share": 0.2}})
    loaded = load_adapter(tmp_path / "adapter")
    assert torch.equal(loaded.compensation.vectors, c.vectors)
    assert loaded.geometry == pair.geometry
    assert loaded.about["dense"] == "a"
    assert loaded.about["figures"] == {"share": 0.2}
    assert loaded.about["versions"]["torch"] == torch.__version__
    adapter_fits(loaded, pair.pruned)


def test_an_adapter_for_a_7b_model_is_under_a_megabyte(tmp_path):
    shape = HeadGeometry(n_layers=32, n_heads=32, n_kv_heads=32, d_head=128, d_model=4096)
    save_adapter(tmp_path / "adapter", Constants(torch.randn(32, 32, 128)), shape, {"dense": "llama"})
    assert sum(path.stat().st_size for path in (tmp_path / "adapter").iterdir()) < 1_000_000


def test_damaged_adapters_are_refused(pair, c, tmp_path):
    folder = tmp_path / "adapter"
    with pytest.raises(LoadError, match="no adapter"):
        load_adapter(folder)
    save_adapter(folder, c, pair.geometry, {})
    about = json.loads((folder / "restorelcc.json").read_text())
    for broken in (
        {**about, "format": 99},
        {**about, "geometry": {}},
        {**about, "geometry": {**about["geometry"], "d_head": 9}},
    ):
        (folder / "restorelcc.json").write_text(json.dumps(broken))
        with pytest.raises(LoadError):
            load_adapter(folder)
    (folder / "restorelcc.json").write_text(json.dumps(about))
    (folder / "compensation.safetensors").write_bytes(b"12345")
    with pytest.raises(LoadError, match="damaged"):
        load_adapter(folder)


def test_an_adapter_for_another_model_is_refused(pair, tmp_path):
    shape = HeadGeometry(2, 4, 2, 8, 24)
    save_adapter(tmp_path / "adapter", Constants(torch.zeros(2, 4, 8)), shape, {})
    with pytest.raises(LoadError, match="made for"):
        adapter_fits(load_adapter(tmp_path / "adapter"), pair.pruned)


STOCK = """
import sys
try:
    import restorelcc
    sys.exit("restorelcc can be imported here, so this shows nothing")
except ModuleNotFoundError:
    pass
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
AutoTokenizer.from_pretrained(sys.argv[1])
torch.save(model(torch.load(sys.argv[2])).logits, sys.argv[3])
"""


def test_a_checkpoint_needs_no_code_of_ours(pair, c, tokens, tmp_path):
    save_checkpoint(tmp_path / "restored", pair.pruned, pair.tokenizer, c)
    torch.save(tokens.ids, tmp_path / "ids.pt")
    paths = [tmp_path / name for name in ("restored", "ids.pt", "logits.pt")]
    # -I: neither the working directory nor PYTHONPATH is on the path of this Python.
    subprocess.run([sys.executable, "-I", "-c", STOCK, *map(str, paths)], check=True, cwd=tmp_path, timeout=120)
    with compensated(pair.pruned, c):
        expected = pair.pruned(tokens.ids).logits
    torch.testing.assert_close(torch.load(tmp_path / "logits.pt"), expected, rtol=1e-4, atol=1e-4)


def test_a_checkpoint_keeps_every_zero(pair, c, tmp_path):
    save_checkpoint(tmp_path / "restored", pair.pruned, pair.tokenizer, c)
    again = load_model(str(tmp_path / "restored"))
    assert measure_sparsity(again) == measure_sparsity(pair.pruned)
    ours, theirs = pair.pruned.state_dict(), again.state_dict()
    assert all(torch.equal(theirs[name], value) for name, value in ours.items())
    added = {name for name in theirs if name not in ours}
    assert all(name.endswith("_proj.bias") for name in added)
    assert not any(theirs[name].any() for name in added if "o_proj" not in name)
    assert again.config.attention_bias is True


def test_nothing_is_overwritten(pair, c, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for save in (
        lambda: save_adapter(tmp_path / "mine", c, pair.geometry, {}),
        lambda: save_checkpoint(tmp_path / "mine", pair.pruned, pair.tokenizer, c),
    ):
        with pytest.raises(WriteError, match="not empty"):
            save()
    assert [path.name for path in tmp_path.rglob("*")] == ["mine", "thesis.txt"]


def test_a_folder_is_whole_or_not_there(tmp_path):
    with pytest.raises(KeyError), whole(tmp_path / "half") as draft:
        (draft / "part").write_text("x")
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with whole(tmp_path / "deep" / "new") as draft:
        (draft / "part").write_text("x")
        assert not (tmp_path / "deep" / "new").exists()
    with whole(tmp_path / "deep" / "new", replace=True) as draft:
        (draft / "other").write_text("y")
    assert [path.name for path in (tmp_path / "deep").rglob("*")] == ["new", "other"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="cannot be written"), whole(tmp_path / "file" / "out"):
        pass


def test_a_run_there_and_back(pair, restoration, tmp_path):
    about = {"dense": "a", "pruned": "b", "figures": {"recovered_share": 0.2}}
    run = save_run(restoration, pair.geometry, "Wanda 60 %, KL", about, tmp_path)
    loaded = load_run(run.folder)
    assert loaded.config == json.loads(json.dumps(run.config))
    assert loaded.name == "Wanda 60 %, KL"
    assert loaded.settings == restoration.settings
    assert loaded.selection == restoration.selection
    assert torch.equal(loaded.adapter().compensation.vectors, restoration.compensation.vectors)
    assert torch.equal(loaded.trained()["beta"], restoration.beta)
    metrics = loaded.metrics()
    assert list(metrics["step"]) == [0, 1, 2, 3, 4]
    assert metrics["perplexity"].notna().tolist() == [True, False, True, False, True]
    assert metrics["loss"].isna().tolist() == [True, False, False, False, False]
    assert loaded.config["versions"]["restorelcc"]


def test_runs_are_listed_newest_first_and_deleted_alone(pair, restoration, tmp_path):
    assert list_runs(tmp_path / "none") == []
    names = ["first", "second", "third"]
    for name in names:
        save_run(restoration, pair.geometry, name, {}, tmp_path)
    (tmp_path / "something else").mkdir()
    assert [run.name for run in list_runs(tmp_path)] == names[::-1]
    discard_run(list_runs(tmp_path)[1])
    assert [run.name for run in list_runs(tmp_path)] == ["third", "first"]
    gone = list_runs(tmp_path)[0]
    (gone.folder / "config.json").unlink()
    with pytest.raises(LoadError):
        discard_run(gone)
    assert gone.folder.exists()
