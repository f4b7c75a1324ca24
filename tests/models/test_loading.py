"""Where models come from and what goes wrong on the way; models spread over memory and disk."""

import errno
import gc
import json
import threading

import pytest
import torch
from conftest import make_model, make_tokens
from families import make_family, random_compensation
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx
from platformdirs import user_cache_path
from transformers import AutoConfig, AutoModelForCausalLM
from typer.testing import CliRunner

from restorelcc.artifacts.export import fingerprint, made_for, save_checkpoint
from restorelcc.artifacts.findings import Recipe, recipe_written
from restorelcc.capture import vocabulary
from restorelcc.capture.components import components
from restorelcc.capture.passage import read_passage
from restorelcc.capture.statistics import MEANS, capture
from restorelcc.cli.options import app
from restorelcc.compensation.interface import compensated
from restorelcc.errors import LoadError, SettingError
from restorelcc.evaluation.patching import all_heads, patched
from restorelcc.evaluation.perplexity import token_loss
from restorelcc.evaluation.prefix import Prefix
from restorelcc.hf.layout import device_of, geometry
from restorelcc.hf.narrow import head_weights
from restorelcc.hf.weights import is_spread, state_of
from restorelcc.models.loading import Loading, load_model, load_skeleton, load_tokenizer
from restorelcc.models.pair import paired
from restorelcc.progress import finish
from restorelcc.pruning.layerwise import Pruning, prune
from restorelcc.pruning.sparsity import measure_sparsity
from restorelcc.restoration.settings import Settings
from restorelcc.restoration.training import Training
from restorelcc.selection.picks import everything
from restorelcc.selection.predicted_effect import slopes
from restorelcc.workspace import _size

# --- what goes wrong --------------------------------------------------------------------------------------------


def answer(kind, code):
    """What huggingface_hub raises where the hub answers so."""
    request = httpx.Request("GET", "https://huggingface.co/someone/something/resolve/main/config.json")
    return kind(f"{code} Client Error. hf_secret was not let in", response=httpx.Response(code, request=request))


def wrapped(error):
    """As Transformers passes it on."""
    outer = OSError("You are trying to access something.\nMake sure to have access to it.")
    outer.__cause__ = error
    return outer


FAILURES = [
    (wrapped(answer(GatedRepoError, 403)), r"someone/something is gated.*huggingface\.co/someone/something.*HF_TOKEN"),
    (wrapped(answer(RepositoryNotFoundError, 404)), "no someone/something on the hub, or it is private.*HF_TOKEN"),
    (wrapped(answer(RevisionNotFoundError, 404)), "no such revision"),
    (wrapped(LocalEntryNotFoundError("nothing cached")), "hub cannot be reached"),
    (OfflineModeIsEnabled("offline"), "hub cannot be reached"),
    (httpx.ConnectError("no route"), "hub cannot be reached"),
    (httpx.ReadTimeout("broke off"), "hub cannot be reached"),
    (OSError(errno.ENOSPC, "No space left on device"), "disk is full.*HF_HOME"),
    (RuntimeError("Data processing error: IO Error: No space left on device (os error 28)"), "disk is full"),
    (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "does not fit into memory.*--device map"),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), "does not fit"),
    (MemoryError(), "does not fit into memory"),
    (ValueError("Unrecognized model\nand more"), "model of someone/something cannot be loaded: Unrecognized model$"),
]


@pytest.mark.parametrize(("error", "says"), FAILURES)
def test_every_way_to_fail_is_one_line_on_what_to_do(monkeypatch, error, says):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr("restorelcc.models.loading._config", lambda *_: AutoConfig.for_model("llama"))
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fails)
    with pytest.raises(LoadError, match=says) as caught:
        load_model("someone/something", Loading(token="hf_secret"))
    assert "\n" not in str(caught.value)
    assert "hf_secret" not in str(caught.value)


def test_a_mistake_of_ours_is_not_taken_for_the_users(monkeypatch, folders):
    def fails(*_, **__):
        raise AttributeError("nothing of the kind")

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fails)
    with pytest.raises(AttributeError):
        load_model(str(folders[0]))


def test_a_device_that_is_full_is_one_line(monkeypatch, folders):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("transformers.PreTrainedModel.to", full)
    with pytest.raises(LoadError, match="does not fit into memory"):
        load_model(str(folders[0]))


def test_memory_that_runs_out_later_is_one_line_too(monkeypatch, folders):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr("restorelcc.cli.commands.evaluating.text.measure", full)
    result = CliRunner().invoke(app, ["evaluate", str(folders[0]), "--length", "16"])
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: Memory ran out.")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("load", [load_model, load_skeleton])
@pytest.mark.parametrize("packed", [{"load_in_4bit": True}, {"load_in_8bit": True}])
def test_packed_weights_need_a_gpu_and_say_so(monkeypatch, folders, load, packed):
    config = json.loads((folders[1] / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes"} | packed
    (folders[1] / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("restorelcc.models.loading.find_spec", lambda _: None)
    says = r"packed by bitsandbytes.*lacks an NVIDIA GPU and the package bitsandbytes.*half precision"
    with pytest.raises(LoadError, match=says):
        load(str(folders[1]))


# --- from where -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "name"),
    [("auto", "cuda:0"), ("map", "cuda:0"), ("cuda", "cuda:0"), ("cuda:0", "cuda:0"), ("cuda:1", "cuda:1"),
     ("cpu", "cpu"), ("cpu:0", "cpu"), ("mps", "mps"), ("mps:0", "mps")],
)  # fmt: skip
def test_a_device_has_one_name_whatever_it_was_called(monkeypatch, device, name):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert Loading(device).resolved_device() == name


@pytest.fixture
def asked(monkeypatch):
    """What Transformers is asked for."""
    seen = []

    def opener(source, **settings):
        seen.append((source, settings))
        raise OSError("enough")

    for name in ("AutoConfig", "AutoTokenizer"):
        monkeypatch.setattr(f"transformers.{name}.from_pretrained", opener)
    return seen


@pytest.mark.parametrize(
    ("name", "how", "revision"),
    [("a/b", Loading(), None), ("a/b", Loading(revision="v1"), "v1"), ("a/b@v2", Loading(revision="v1"), "v2"),
     ("a/b@refs/pr/3", Loading(), "refs/pr/3")],
)  # fmt: skip
def test_a_hub_id_can_name_its_revision(asked, name, how, revision):
    for load in (load_model, load_tokenizer, load_skeleton):
        with pytest.raises(LoadError):
            load(name, how)
    assert [(source, settings["revision"]) for source, settings in asked] == [("a/b", revision)] * 3


def test_a_folder_may_hold_an_at_sign(folders, tmp_path):
    folders[0].rename(tmp_path / "a@b")
    assert geometry(load_model(str(tmp_path / "a@b"), Loading(revision="v1"))).n_layers == 3


def test_a_token_reaches_the_hub_and_nothing_else(asked):
    how = Loading(token="hf_secret")
    with pytest.raises(LoadError) as caught:
        load_tokenizer("a/b", how)
    assert asked[0][1]["token"] == "hf_secret"
    recipe = Recipe("a/b", "a/c", loading=how)
    assert "hf_secret" not in f"{caught.value} {how} {recipe!r} {recipe_written(recipe)}"
    assert recipe == Recipe("a/b", "a/c")
    assert hash(recipe) == hash(Recipe("a/b", "a/c"))
    with pytest.raises(LoadError):
        load_tokenizer("a/b")
    assert "token" not in asked[1][1]  # then the hub's client looks for HF_TOKEN or a login itself


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_shards_are_one_model(tmp_path, tokens, dtype):
    model = make_model().to(dtype)
    model.save_pretrained(tmp_path / "shards", max_shard_size="20kB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    loaded = load_model(str(tmp_path / "shards"), Loading("cpu"))
    assert all(torch.equal(value, model.state_dict()[name].to(value)) for name, value in loaded.state_dict().items())


# --- spread over memory and disk --------------------------------------------------------------------------------


@pytest.fixture
def little(monkeypatch):
    """Set how many bytes accelerate believes there to be."""

    def limit(amount):
        def most(max_memory=None):
            return dict(max_memory or {"cpu": amount})

        monkeypatch.setattr("transformers.integrations.accelerate.accelerate_max_memory", most)

    return limit


def spread(model, folder, little, share=0.5):
    """Saved and loaded again, about `share` of it in memory and the rest on disk."""
    model.save_pretrained(folder)
    little(share * sum(p.numel() * p.element_size() for p in model.parameters()) + 1000)
    loaded = load_model(str(folder), Loading("map"))
    assert is_spread(loaded)
    return loaded


KINDS = ["llama", "gpt2", "opt", "gemma2", "mixtral", "gpt_oss"]


@pytest.mark.filterwarnings("ignore:.*meta device because they were offloaded")
@pytest.mark.parametrize("share", [0.0, 0.6])
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_that_is_spread_is_read_like_any_other(kind, share, tmp_path, tokenizer, little):
    dense = make_family(kind).requires_grad_(False)
    tokens = make_tokens()
    pruned = finish(prune(dense, tokens, Pruning("magnitude", 0.5)))
    far = [spread(one, tmp_path / name, little, share) for one, name in ((dense, "dense"), (pruned, "pruned"))]
    assert device_of(far[0]) == torch.device("cpu")
    near_pair, far_pair = paired(dense, pruned, tokenizer, "d", "p"), paired(*far, tokenizer, "d", "p")
    near, found = (finish(capture(pair, tokens)) for pair in (near_pair, far_pair))
    for name in MEANS:
        torch.testing.assert_close(getattr(found, name).float(), getattr(near, name).float())
    assert fingerprint(far[1]) == fingerprint(pruned)
    assert made_for(far[1]) == made_for(pruned)
    assert measure_sparsity(far[1]) == measure_sparsity(pruned)
    assert _size(far[1]) == _size(pruned)
    ours, theirs = state_of(far[1]), pruned.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    c = random_compensation(pruned)
    with compensated(pruned, c):
        expected = token_loss(pruned, tokens).nll.float()
    with compensated(far[1], c):
        torch.testing.assert_close(token_loss(far[1], tokens).nll.float(), expected)
    torch.testing.assert_close(
        vocabulary.vocabulary_effect(far[1], 1, 1, c.vectors[1, 1]),
        vocabulary.vocabulary_effect(pruned, 1, 1, c.vectors[1, 1]),
    )


@pytest.mark.filterwarnings("ignore:.*meta device because they were offloaded")
def test_everything_else_works_on_a_spread_pair_too(tmp_path, tokenizer, tokens, little):
    dense = make_model()
    pruned = finish(prune(dense, tokens, Pruning("wanda", 0.5)))
    far = [spread(one, tmp_path / name, little) for one, name in ((dense, "dense"), (pruned, "pruned"))]
    near_pair, far_pair = paired(dense, pruned, tokenizer, "d", "p"), paired(*far, tokenizer, "d", "p")
    ours, theirs = (finish(slopes(pair, tokens, "kl")).by_text for pair in (far_pair, near_pair))
    torch.testing.assert_close(ours, theirs)
    prefix = Prefix(far[1], tokens)
    torch.testing.assert_close(finish(prefix.measured()).nll, token_loss(pruned, tokens).nll)
    assert [len(states) for states in prefix._states.values()] == [1, 1]
    patches = [all_heads(near_pair.geometry, 1), all_heads(near_pair.geometry, 2)]
    ours, theirs = (finish(patched(pair, tokens, patches)) for pair in (far_pair, near_pair))
    assert [float(loss.nll.sum()) for loss in ours] == pytest.approx([float(loss.nll.sum()) for loss in theirs])
    reading = [read_passage(pair, tokens.ids[0]) for pair in (far_pair, near_pair)]
    torch.testing.assert_close(reading[0].lost, reading[1].lost)
    torch.testing.assert_close(reading[0].pruned_attention, reading[1].pruned_attention)
    assert all(torch.equal(a, b) for ours, theirs in zip(head_weights(far[0]), head_weights(dense), strict=True)
               for a, b in zip(ours, theirs, strict=True))  # fmt: skip
    losses = []
    for pair in (far_pair, near_pair):
        lost = components(finish(capture(pair, tokens)))
        training = Training(pair, lost, everything(lost.shape), tokens, tokens[:2], Settings(steps=3, batch=4))
        losses.append([step.held_out_loss for step in training.steps()])
    assert losses[0] == pytest.approx(losses[1])
    c = training.result().compensation
    save_checkpoint(tmp_path / "out", far[1], tokenizer, c)
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    with compensated(pruned, c):
        torch.testing.assert_close(reloaded(tokens.ids).logits, pruned(tokens.ids).logits, rtol=1e-4, atol=1e-4)
    with pytest.raises(SettingError, match=r"spread over memory and disk.*--device cpu"):
        finish(prune(far[0], tokens, Pruning("wanda", 0.5)))


@pytest.mark.filterwarnings("ignore:.*meta device because they were offloaded")
def test_two_threads_at_once_see_what_each_would_see_alone(tmp_path, tokens, little):
    model = spread(make_model(num_hidden_layers=6), tmp_path / "one", little)
    expected, wrong = model(tokens.ids).logits, []

    def ask():
        try:
            for _ in range(30):
                if not torch.equal(model(tokens.ids).logits, expected):
                    wrong.append("other logits")
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.filterwarnings("ignore:.*meta device because they were offloaded")
def test_what_had_to_be_written_to_disk_goes_with_the_model(tmp_path, little):
    """Experts are stored apart and computed together, so they are written anew."""
    place = user_cache_path("restorelcc")
    model = spread(make_family("mixtral"), tmp_path / "one", little, 0.0)
    assert any(place.glob(".restorelcc-draft-*/*.safetensors"))
    del model
    gc.collect()
    assert not any(place.glob(".restorelcc-draft-*"))
    (tmp_path / "one" / "model.safetensors").unlink()
    with pytest.raises(LoadError, match="no safetensors"):
        load_model(str(tmp_path / "one"), Loading("map"))
    assert not any(place.glob(".restorelcc-draft-*"))


def test_map_is_one_device_where_that_is_enough(folders, tokens, pair):
    loaded = load_model(str(folders[0]), Loading("map"))
    assert not is_spread(loaded)
    assert torch.equal(loaded(tokens.ids).logits.cpu(), pair.dense(tokens.ids).logits)


@pytest.mark.filterwarnings("ignore:.*meta device because they were offloaded")
def test_weights_that_are_no_numbers_are_found_on_disk_too(tmp_path, little):
    model = make_model()
    model.model.layers[2].mlp.up_proj.weight[1, 1] = torch.nan
    with pytest.raises(LoadError, match=r"layers\.2\.mlp\.up_proj"):
        spread(model, tmp_path / "one", little)
