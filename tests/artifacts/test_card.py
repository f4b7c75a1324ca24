"""The card beside an export, and the two lines it tells people to write."""

import json
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from conftest import make_model, noisy
from families import logits_with, make_family, random_compensation

import restorelcc
from restorelcc.artifacts.card import model_card, name_of
from restorelcc.artifacts.export import adapter_fits, fingerprint, load_adapter, save_adapter, save_checkpoint
from restorelcc.errors import LoadError
from restorelcc.hf.layout import geometry
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune

ABOUT = {
    "dense": "Qwen/Qwen3-0.6B",
    "pruned": "/home/somebody/secret/qwen-pruned",
    "pruning": {"method": "wanda", "sparsity": 0.5, "pattern": "2:4", "calibration": "c4", "tokens": 4096},
    "calibration": {"source": "/home/somebody/notes.txt", "windows": 115, "length": 2048},
    "settings": {"loss": "kl", "steps": 200, "batch": 8, "lr": 0.2, "seed": 3},
    "trained_parameters": 1234,
    "figures": {
        "dense": {"perplexity": 10.5, "stderr": 0.25, "tokens": 900},
        "restored": {"perplexity": 11.5, "stderr": 0.5, "tokens": 900},
        "gain": {"nats": -0.1, "stderr": 0.01},
        "recovered_share": 0.234,
        "share_stderr": 0.04,
    },
    "evaluation": "held-out windows",
}


@pytest.mark.parametrize("kind", ["checkpoint", "adapter"])
def test_a_card_says_all_that_is_known_and_no_path_of_anybodys(kind):
    card = model_card(kind, ABOUT, {"restorelcc": "9.9", "torch": "2.13"})
    for fact in (
        "base_model: Qwen/Qwen3-0.6B", "wanda 2:4", "4096 tokens of c4", "115 windows of 2048 tokens of notes.txt",
        "1234 values", "rate 0.2", "seed 3", "| dense | 10.500 ± 0.250 | 900 |", "| restored | 11.500 ± 0.500 | 900 |",
        "Measured on held-out windows", "23.4% ± 4.0%", "restorelcc 9.9", "torch 2.13", "Lost Component Compensation",
    ):  # fmt: skip
        assert fact in card, fact
    assert "somebody" not in card
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert len(code(card)) == 2


def test_no_path_is_on_a_card_wherever_it_was_written():
    about = ABOUT | {
        "evaluation": "the evaluation text, /home/somebody/else/eval text.txt",
        "recipe": {"evaluation": "/home/somebody/else/eval text.txt"},
        "notes": ["Weights were read from /srv/somebody/models/x.bin, as https://hub.example/a/b says."],
        "judged_on": {"text": "/home/somebody/else/eval text.txt", "windows": 128, "length": 256},
    }
    card = model_card("adapter", about, {"restorelcc": "9.9"})
    assert "somebody" not in card
    assert "/srv" not in card
    assert "https://hub.example/a/b" in card
    assert "--text 'eval text.txt' --windows 128 --length 256" in card
    assert "Feng, Zijian and" in card


def code(card):
    return re.search(r"```python\n(.*?)\n```", card, re.S)[1].splitlines()


def test_a_card_of_little_knowledge_claims_nothing():
    card = model_card("adapter", {}, {"restorelcc": "1"})
    assert "not recorded" in card
    assert "None" not in card
    assert "base_model" not in card
    assert "Figures" not in card


def test_a_pruned_checkpoint_has_a_card_of_its_own(tokens, tokenizer, tmp_path):
    pruned = finish(prune(make_model(), tokens, Pruning("wanda", 0.5), "stories"))
    save_checkpoint(tmp_path / "pruned", pruned, tokenizer, about={"dense": "owner/base"})
    card = (tmp_path / "pruned" / "README.md").read_text()
    assert "wanda 50 %, calibrated on 96 tokens of stories" in card
    assert "base_model: owner/base" in card
    assert "Compensation" not in card  # nothing was put back


@pytest.fixture(scope="module")
def mixtral(tokenizer, tmp_path_factory):
    """A family that cannot be merged: (pruned model, compensation, its folder, the adapter's)."""
    place = tmp_path_factory.mktemp("mixtral")
    model = make_family("mixtral")
    c = random_compensation(model)
    save_checkpoint(place / "pruned", model, tokenizer)
    about = {"pruned": str(place / "pruned"), "fingerprint": fingerprint(model)}
    save_adapter(place / "adapter", c, geometry(model), about)
    return model, c, place / "pruned", place / "adapter"


def test_what_cannot_be_merged_loads_in_two_lines(mixtral, tokens):
    model, c, folder, adapter = mixtral
    loaded, tokenizer = restorelcc.load_restored(str(folder), adapter)
    expected = logits_with(model, c, tokens.ids)
    assert not torch.allclose(expected, model(tokens.ids).logits, atol=1e-2)
    torch.testing.assert_close(loaded(tokens.ids).logits, expected)
    assert tokenizer("the cat").input_ids
    # Unlike a compensation in a `with`, it is there for every thread: a server has many.
    seen = []
    thread = threading.Thread(target=lambda: seen.append(loaded(tokens.ids).logits))
    thread.start()
    thread.join()
    torch.testing.assert_close(seen[0], expected)


def test_the_lines_on_the_card_are_the_ones_that_work(mixtral, tokens):
    model, c, folder, adapter = mixtral
    lines = code((adapter / "README.md").read_text())
    # The card names the folder without the place where it lay; a reader stands beside it.
    script = "\n".join(lines).replace("pruned", str(folder), 1).replace("THIS FOLDER", str(adapter))
    names = {}
    exec(script, names)
    torch.testing.assert_close(names["model"](tokens.ids).logits, logits_with(model, c, tokens.ids))


def test_an_adapter_made_for_another_model_of_the_same_shape_is_refused(pair, tmp_path, folders):
    c = random_compensation(pair.pruned)
    about = {"pruned": "ours", "fingerprint": fingerprint(pair.pruned)}
    save_adapter(tmp_path / "adapter", c, pair.geometry, about)
    adapter = load_adapter(tmp_path / "adapter")
    adapter_fits(adapter, pair.pruned)
    adapter_fits(adapter, noisy(make_model()).bfloat16())  # the same model in another precision
    for other in (pair.dense, noisy(make_model(), amount=0.31)):
        with pytest.raises(LoadError, match=r"another model of this shape \(ours\)"):
            adapter_fits(adapter, other)
    with pytest.raises(LoadError, match="another model"):
        restorelcc.load_restored(str(folders[0]), tmp_path / "adapter")
    restorelcc.load_restored(str(folders[1]), tmp_path / "adapter")


def test_importing_the_package_alone_is_light():
    script = "import sys, restorelcc; print('torch' in sys.modules)"
    root = Path(__file__).parents[2]
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=True)
    assert shown.stdout.strip() == "False"


def test_adapters_of_before_there_were_fingerprints_still_load(pair, tmp_path):
    save_adapter(tmp_path / "adapter", random_compensation(pair.pruned), pair.geometry, {})
    assert "fingerprint" not in json.loads((tmp_path / "adapter" / "restorelcc.json").read_text())
    adapter_fits(load_adapter(tmp_path / "adapter"), pair.pruned)


@pytest.mark.parametrize(
    ("model_type", "says"),
    [
        ("llama", ["vLLM reads them", "llama.cpp reads them"]),
        ("qwen3", ["vLLM **drops them in silence**", "llama.cpp refuses the file"]),
        ("gemma2", ["vLLM reads them", "llama.cpp refuses the file"]),
        ("mistral", ["Of `llama` models", "vLLM reads them"]),  # as which it is written
        ("smollm3", ["Whether llama.cpp reads them is not known"]),
    ],
)
def test_a_card_says_where_else_the_restoration_survives(model_type, says, tokenizer, tmp_path):
    model = make_family(model_type, **({"sliding_window": None} if model_type == "mistral" else {}))
    save_checkpoint(tmp_path / "restored", model, tokenizer, random_compensation(model))
    card = (tmp_path / "restored" / "README.md").read_text()
    assert "## In other runtimes" in card
    for words in says:
        assert words in card
    save_checkpoint(tmp_path / "pruned", model, tokenizer)
    assert "other runtimes" not in (tmp_path / "pruned" / "README.md").read_text()


def test_a_family_that_is_not_in_the_table_claims_nothing():
    card = model_card("checkpoint", {}, {}, merged_type="seed_oss")
    assert "Whether vLLM reads them is not known" in card
    assert "Whether llama.cpp reads them is not known" in card


@pytest.mark.parametrize("name", ["~nobody/x", "/a/" + "b" * 5_000, "./a\x00b", "/" + "c/" * 900 + "d"])
def test_a_name_that_no_folder_can_have_is_a_name(name):
    assert name_of(name) == name.rpartition("/")[2].replace("\x00", "")
