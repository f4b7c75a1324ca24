"""The embedded model, its text, and the whole way over them, shortened; `acceptance.py` goes it in full."""

import errno
import json
import math
import os
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from restorelcc.demo.pair import cached_pruned, demo_dense, demo_pair
from restorelcc.demo.walkthrough import walk
from restorelcc.evaluation.perplexity import paired_difference, perplexity, token_loss
from restorelcc.hf.identity import settings
from restorelcc.hf.layout import geometry
from restorelcc.models.loading import DEMO_FOLDER
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.pruning.sparsity import measure_sparsity
from restorelcc.restoration.settings import Settings
from restorelcc.text import sources
from restorelcc.text.tokens import windows


@pytest.fixture(scope="module")
def dense():
    return demo_dense()


def test_plain_transformers_loads_it():
    model = AutoModelForCausalLM.from_pretrained(DEMO_FOLDER / "dense")
    shape = geometry(model)
    assert (shape.n_layers, shape.n_heads, shape.n_kv_heads, shape.d_head, shape.d_model) == (8, 8, 4, 32, 256)
    assert 6.5e6 < sum(parameter.numel() for parameter in model.parameters()) < 7.5e6
    assert model.dtype in (torch.bfloat16, torch.float16)
    size = sum(path.stat().st_size for path in (DEMO_FOLDER / "dense").iterdir())
    assert size <= 16_000_000
    tokenizer = AutoTokenizer.from_pretrained(DEMO_FOLDER / "dense")
    assert len(tokenizer) == 4096 == model.config.vocab_size
    odd = "Ünïcode, 你好, and \t tabs <b>"
    assert tokenizer.decode(tokenizer(odd).input_ids) == odd


@pytest.mark.parametrize("purpose", ["calibration", "evaluation"])
def test_the_stories_are_many_and_long_enough(dense, purpose):
    stories = sources.read("demo", purpose)
    assert len(stories) >= 80
    assert len({story.text for story in stories}) == len(stories)
    assert windows(stories, dense[1], 256).ids.numel() >= 15_000


def test_no_story_is_in_both_files():
    """Nor most of one: the genre lives on stock phrases, but of any two stories few runs of six words are the same."""

    def runs(story):
        words = re.findall(r"[a-z']+", story.text.lower())
        return {tuple(words[index : index + 6]) for index in range(len(words) - 5)}

    ours, theirs = (
        [runs(story) for story in sources.read("demo", purpose)] for purpose in ("calibration", "evaluation")
    )
    assert max(len(one & other) / len(one) for one in ours for other in theirs) < 0.2


def test_contrast_items_are_whole_and_fluent_in_form():
    items = [json.loads(line) for line in (DEMO_FOLDER / "contrast.jsonl").read_text().splitlines()]
    assert len(items) >= 200
    assert len({item["prompt"] for item in items}) == len(items)
    for item in items:
        assert set(item) == {"prompt", "right", "wrong"}
        assert item["right"] != item["wrong"]
        assert all(item[name].startswith(" ") and item[name].rstrip()[-1] in '.!?"' for name in ("right", "wrong"))


@pytest.fixture(scope="module")
def few_stories(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "few.txt"
    path.write_text("\n<|endoftext|>\n".join(story.text for story in sources.read("demo")[:14]))
    return str(path)


def test_the_pruned_partner_is_made_once_and_made_again_if_damaged(dense, few_stories):
    model, tokenizer = dense
    tokens = windows(sources.read(few_stories), tokenizer, 256)
    pruning = Pruning("wanda", 0.5)
    assert any("pruning layer" in step.what for step in list(demo_pair(model, tokenizer, tokens, pruning)))
    assert list(demo_pair(model, tokenizer, tokens, pruning)) == []
    folder = cached_pruned(model, tokens, pruning)
    (folder / "model.safetensors").write_bytes(b"no")
    pair = finish(demo_pair(model, tokenizer, tokens, pruning))
    assert measure_sparsity(pair.pruned).sparsity == pytest.approx(0.5, abs=0.001)
    assert pair.pruned.config.pruning["rounding"] == "nearest"  # as all figures that are quoted of it
    others = {cached_pruned(model, tokens[:3], pruning), cached_pruned(model, tokens, Pruning("wanda", 0.6)), folder}
    assert len(others) == 3


def refusing(number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("how", ["a file", "read-only", "full", "full for tokenizers", "vanished"])
def test_a_cache_that_cannot_be_used_costs_time_and_never_the_pair(dense, few_stories, tmp_path, monkeypatch, how):
    model, tokenizer = dense
    tokens = windows(sources.read(few_stories), tokenizer, 256)
    pruning = Pruning("magnitude", 0.5)
    whole = finish(demo_pair(model, tokenizer, tokens, pruning))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if how == "a file":
        (tmp_path / "cache").touch()
    elif how == "read-only":
        monkeypatch.setattr(Path, "mkdir", refusing(errno.EROFS))
    elif how == "full":
        monkeypatch.setattr(type(model), "save_pretrained", refusing(errno.ENOSPC))
    elif how == "full for tokenizers":  # whose errors are none of Python's own
        said = Exception("No space left on device (os error 28)")
        monkeypatch.setattr(type(tokenizer), "save_pretrained", lambda *_, **__: (_ for _ in ()).throw(said))
    else:
        monkeypatch.setattr("restorelcc.demo.pair.save_checkpoint", lambda *_, **__: None)
    pair = finish(demo_pair(model, tokenizer, tokens, pruning))
    ours, theirs = pair.pruned.state_dict(), whole.pruned.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert settings(pair.pruned) == settings(whole.pruned)
    assert Path(pair.pruned_name).name == Path(whole.pruned_name).name
    assert pair.remarks() == whole.remarks()
    assert not any(path.is_file() for path in (tmp_path / "cache").rglob("*"))


def test_the_whole_way(few_stories, tmp_path):
    walked = finish(
        walk(tmp_path / "restored", source=few_stories, settings=Settings(steps=10, lr=0.1, evaluate_every=5))
    )
    report = walked.to_json()
    assert set(report) >= {"dense", "pruned", "injected", "restored", "reloaded", "recovered_share", "sparsity",
                           "trained_parameters", "seconds", "export"}  # fmt: skip
    assert report["dense"]["perplexity"] < report["restored"]["perplexity"] < report["pruned"]["perplexity"]
    assert walked.gain.z < -3
    lost = math.log(report["pruned"]["perplexity"] / report["dense"]["perplexity"])
    won = math.log(report["pruned"]["perplexity"] / report["restored"]["perplexity"])
    assert report["recovered_share"] == pytest.approx(won / lost)
    assert report["reloaded"]["perplexity"] == pytest.approx(report["restored"]["perplexity"], rel=0.005)
    assert walked.sparsity["pruned"] == walked.sparsity["restored"]
    assert report["trained_parameters"] == 8 * 8 * 32 * 2
    assert perplexity(walked.losses["dense"]).tokens > 15_000


@pytest.mark.parametrize("amount", [{"sparsity": 0.5}, {"pattern": "2:4"}])
def test_published_order_of_the_methods(dense, amount):
    """SparseGPT loses least and magnitude most (Frantar and Alistarh 2023; Sun et al. 2023), on the same windows; every
    step is beyond two standard errors of the paired difference."""
    model, tokenizer = dense
    tokens = windows(sources.read("demo"), tokenizer, 128, most=24)
    evaluation = windows(sources.read("demo", "evaluation"), tokenizer, 256, most=48)
    losses = {
        method: token_loss(finish(prune(model, tokens, Pruning(method, **amount))), evaluation)
        for method in ("sparsegpt", "wanda", "magnitude")
    }
    values = [perplexity(loss).value for loss in (token_loss(model, evaluation), *losses.values())]
    assert values == sorted(values)
    assert paired_difference(losses["wanda"], losses["magnitude"]).z < -2
    assert paired_difference(losses["sparsegpt"], losses["wanda"]).z < -2
