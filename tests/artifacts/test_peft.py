"""The adapter in PEFT's own format, read by stock PEFT."""

import io
import json
import subprocess
import sys
import zipfile

import pytest
import torch
from commands import answer
from conftest import make_tokens
from families import logits_with, make_family, random_compensation
from peft import PeftModel

from app.views.restore.exports import zipped
from restorelcc.artifacts.export import load_adapter, save_adapter
from restorelcc.artifacts.runs import list_runs
from restorelcc.compensation.constants import Constants
from restorelcc.hf.families import FAMILIES
from restorelcc.hf.layout import geometry
from restorelcc.models.loading import load_model
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune

pytestmark = [
    # Of a base without biases: it could not merge ours into it.
    pytest.mark.filterwarnings("ignore:.*lora_bias=True.*"),
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*"),
]


def saved(model, compensation, folder):
    about = {"pruned": "/home/somebody/pruned"}
    save_adapter(folder, compensation.own_heads(model), geometry(model), about, model)
    return folder / "peft"


@pytest.mark.parametrize("model_type", FAMILIES)
def test_stock_peft_computes_to_the_bit_what_ours_does(model_type, tmp_path):
    model, ids = make_family(model_type), make_tokens(texts=2).ids
    c = random_compensation(model)
    folder = saved(model, c, tmp_path / "adapter")
    plain, expected = model(ids).logits, logits_with(model, c, ids)
    assert torch.equal(load_adapter(tmp_path / "adapter").compensation.vectors, c.vectors)
    with torch.no_grad():
        found = PeftModel.from_pretrained(model, folder)(ids).logits
    assert torch.equal(found, expected)
    assert not torch.allclose(found, plain, atol=1e-2)


def test_a_layer_without_a_constant_is_not_touched_and_heads_that_are_gone_go_nowhere(tokens, tmp_path):
    dense = make_family("llama")
    narrow = finish(prune(dense, tokens, Pruning("structured", 0.5), "test"))
    vectors = random_compensation(dense).vectors
    vectors[1] = 0
    folder = saved(narrow, Constants(vectors), tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["target_modules"] == ["model.layers.0.self_attn.o_proj"]
    assert "somebody" not in (folder / "adapter_config.json").read_text()
    expected = logits_with(narrow, Constants(vectors), tokens.ids)
    with torch.no_grad():
        assert torch.equal(PeftModel.from_pretrained(narrow, folder)(tokens.ids).logits, expected)


def test_half_precision_differs_by_its_rounding(tmp_path):
    model, ids = make_family("gemma2").bfloat16(), make_tokens(texts=2).ids
    c = random_compensation(model)
    folder = saved(model, c, tmp_path / "adapter")
    expected = logits_with(model, c, ids).float()
    with torch.no_grad():
        found = PeftModel.from_pretrained(model, folder)(ids).logits.float()
    assert (found - expected).norm() / expected.norm() < 4 * torch.finfo(torch.bfloat16).eps


def test_nothing_put_back_needs_no_adapter_of_pefts(pair, tmp_path):
    save_adapter(tmp_path / "adapter", Constants.none(pair.geometry), pair.geometry, {}, pair.pruned)
    assert not (tmp_path / "adapter" / "peft").exists()
    assert "PeftModel" not in (tmp_path / "adapter" / "README.md").read_text()


STOCK = """
import sys
try:
    import restorelcc
    sys.exit("restorelcc can be imported here, so this shows nothing")
except ModuleNotFoundError:
    pass
import torch
# As here: a product over fewer or more threads is summed in another order.
torch.set_num_threads(THREADS)
"""


def test_what_restore_writes_and_a_run_keeps_is_loaded_as_the_card_says(folders, pair_args, text, tmp_path):
    answer("restore", *pair_args, "--steps", 3, "--lr", 1, "--out", tmp_path / "adapter")
    card = (tmp_path / "adapter" / "README.md").read_text()
    lines = card.split("```python\n")[2].split("\n```")[0]
    assert card.count("```python") == 2
    ids = torch.tensor([[0, 5, 9, 11, 3]])
    torch.save(ids, tmp_path / "ids.pt")
    script = STOCK.replace("THREADS", str(torch.get_num_threads()))
    script += lines.replace("THIS FOLDER", str(tmp_path / "adapter")).replace('"pruned"', repr(str(folders[1])))
    script += f"\ntorch.save(model(torch.load({str(tmp_path / 'ids.pt')!r})).logits, {str(tmp_path / 'logits.pt')!r})"
    # -I: neither the working directory nor PYTHONPATH is on the path of this Python.
    subprocess.run([sys.executable, "-I", "-c", script], check=True, cwd=tmp_path, timeout=120)
    model = load_model(str(folders[1]))
    expected = logits_with(model, load_adapter(tmp_path / "adapter").compensation, ids)
    assert torch.equal(torch.load(tmp_path / "logits.pt"), expected)
    (run,) = list_runs()
    names = zipfile.ZipFile(io.BytesIO(zipped(run.folder / "adapter"))).namelist()
    assert f"{run.folder.name}/peft/adapter_model.safetensors" in names
    assert f"{run.folder.name}/restorelcc.json" in names
