"""Tokenizers of a pair: which one reads text, when two are one, and what is said of those that cannot be used."""

import json
import shutil

import pytest
from commands import answer, call
from conftest import WORDS, make_model, make_tokenizer, noisy
from tokenizer_kinds import KINDS, byte_bpe, sentencepiece_like
from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from restorelcc.errors import LoadError, NoTokenizer, PairMismatch
from restorelcc.models import tokenizers
from restorelcc.models.loading import load_tokenizer
from restorelcc.models.pair import load_pair
from restorelcc.models.tokenizers import check_tokenizers, differing_text


def changed(tokenizer, change):
    """A copy whose backend was changed."""
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    change(backend)
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=tokenizer.bos_token, eos_token=tokenizer.eos_token
    )


def edited(tokenizer, change):
    """A copy whose model, as JSON has it, was changed."""
    data = json.loads(tokenizer.backend_tokenizer.to_str())
    change(data["model"])
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(data)))


SPECIAL_ALONE = {
    "padding": lambda t: t.add_special_tokens({"pad_token": "[PAD]"}),
    "turns of a chat": lambda t: t.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|bot|>"]}),
    "template": lambda t: setattr(t, "chat_template", "{{ messages }}"),
    "side": lambda t: setattr(t, "padding_side", "left"),
    "length": lambda t: setattr(t, "model_max_length", 17),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", SPECIAL_ALONE)
def test_what_stands_for_no_text_makes_no_difference(kind, change, tmp_path):
    ours, theirs = KINDS[kind](), KINDS[kind]()
    SPECIAL_ALONE[change](theirs)
    theirs.save_pretrained(tmp_path)
    for other in (theirs, load_tokenizer_of(tmp_path)):
        check_tokenizers(ours, other)
        check_tokenizers(other, ours)


def load_tokenizer_of(folder):
    make_model().save_pretrained(folder)
    return load_tokenizer(str(folder))


def test_a_start_that_is_put_before_text_makes_no_difference():
    ours = sentencepiece_like()
    check_tokenizers(ours, sentencepiece_like(adds_start=False))
    dressed = changed(ours, lambda b: setattr(b, "post_processor", processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])))  # fmt: skip
    assert dressed("a").input_ids[-1] == 2
    check_tokenizers(ours, dressed)


def test_a_model_written_otherwise_that_reads_alike_is_the_same():
    ours = byte_bpe()
    twin = edited(ours, lambda model: model.update(fuse_unk=not model["fuse_unk"]))
    assert tokenizers._workings(ours) != tokenizers._workings(twin)
    assert differing_text(ours, twin) is None


def swapped(vocabulary, one, other):
    vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]


def unlike():
    bpe, pieces = byte_bpe(), sentencepiece_like()
    rare = max(bpe.get_vocab(), key=bpe.get_vocab().get)
    return {
        "a word less": (make_tokenizer(), make_tokenizer(WORDS[:-1]), "upon"),
        "a word more": (make_tokenizer(), make_tokenizer([*WORDS, "zebra"]), "zebra"),
        "another number": (bpe, edited(bpe, lambda m: swapped(m["vocab"], rare, "Ġthe")), "the"),
        "one merge less": (bpe, edited(bpe, lambda m: m["merges"].pop()), None),
        "split elsewhere": (bpe, changed(bpe, lambda b: setattr(b, "pre_tokenizer", pre_tokenizers.Sequence(
            [pre_tokenizers.Split("e", "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]))), None),
        "small letters": (bpe, changed(bpe, lambda b: setattr(b, "normalizer", normalizers.Lowercase())), None),
        "accents composed": (bpe, changed(bpe, lambda b: setattr(b, "normalizer", normalizers.NFC())), None),
        "compatible forms": (bpe, changed(bpe, lambda b: setattr(b, "normalizer", normalizers.NFKC())), None),
        "a space before": (bpe, changed(bpe, lambda b: setattr(b, "pre_tokenizer", pre_tokenizers.ByteLevel())), None),
        "no bytes": (pieces, edited(pieces, lambda m: m.update(byte_fallback=False)), None),
        "another kind": (bpe, pieces, None),
    }  # fmt: skip


UNLIKE = unlike()


@pytest.mark.parametrize("name", UNLIKE)
def test_what_reads_text_otherwise_is_refused_with_a_text_that_shows_it(name):
    ours, theirs, shows = UNLIKE[name]
    for one, other in ((ours, theirs), (theirs, ours)):
        text = differing_text(one, other)
        assert text is not None
        left, right = (t(text, add_special_tokens=False).input_ids for t in (one, other))
        assert left != right
        assert shows is None or shows in text
        with pytest.raises(PairMismatch, match="different tokenizers: ") as caught:
            check_tokenizers(one, other)
        assert repr(text[:40]) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_words_added_to_one_side_are_a_difference():
    ours, theirs = byte_bpe(), byte_bpe()
    theirs.add_tokens(["Kubernetes"])
    assert differing_text(ours, theirs) == "Kubernetes"


def without_tokenizer(folder):
    for path in folder.glob("*token*"):
        path.unlink()


def test_a_model_without_a_tokenizer_borrows_its_partners_and_it_is_said(folders, text):
    dense, pruned = folders
    words = load_tokenizer(str(dense))("the dog").input_ids
    kept = shutil.copytree(pruned, pruned.parent / "kept")
    without_tokenizer(pruned)
    pair = load_pair(str(dense), str(pruned))
    assert pair.tokenizer("the dog").input_ids == words
    assert pair.notes[0].startswith("The pruned model has no tokenizer: text is read with the dense one's")
    told = answer("inspect", "--dense", dense, "--pruned", pruned, "--calibration", text, "--length", 16)
    assert told["notes"] == list(pair.notes)
    for more in ([], ["--one-at-a-time"]):
        said = call("inspect", "--dense", dense, "--pruned", pruned, "--calibration", text, "--length", 16, *more)
        assert said.stderr.count("no tokenizer") == 1
    out = dense.parent / "out"
    answer("restore", "--dense", dense, "--pruned", pruned, "--calibration", text, "--length", 16, "--steps", 1,
           "--out", out, "--format", "checkpoint")  # fmt: skip
    assert "no tokenizer" in (out / "README.md").read_text()
    assert load_tokenizer(str(out))("the dog").input_ids == words
    without_tokenizer(dense)
    pair = load_pair(str(dense), str(kept))
    assert pair.tokenizer("the dog").input_ids == words
    assert "The dense model has no tokenizer" in pair.notes[0]
    with pytest.raises(NoTokenizer, match=r"no tokenizer beside its weights. Copy tokenizer\.json"):
        load_pair(str(dense), str(pruned))
    alone = call("evaluate", pruned, "--text", text)
    assert alone.exit_code == 2
    assert alone.stderr.count("\n") == 1


def test_a_tokenizer_that_is_damaged_on_one_side_is_not_compared(folders):
    dense, pruned = folders
    (pruned / "tokenizer.json").write_text("{")
    assert "has a tokenizer that cannot be loaded" in load_pair(str(dense), str(pruned)).notes[0]
    (dense / "tokenizer.json").write_text("{")
    with pytest.raises(LoadError, match=r"tokenizer of .*dense cannot be loaded"):
        load_pair(str(dense), str(pruned))


@pytest.mark.parametrize("content", ["{}", "[]", '"x"', '{"model": {"type": "X"}}', "\ufeff{", ""])
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_damaged_tokenizers_are_one_line(folders, text, name, content):
    (folders[0] / name).write_text(content)
    found = call("evaluate", folders[0], "--text", text, "--length", 16)
    if found.exit_code:  # a config may well be read over
        assert found.exit_code == 2
        assert found.stderr.startswith("Error: ")
        assert found.stderr.count("\n") == 1
    else:
        assert load_tokenizer(str(folders[0]))("the dog").input_ids == make_tokenizer()("the dog").input_ids


def test_a_vocabulary_that_is_missing_is_found_out(folders):
    """Transformers makes a tokenizer of nothing where a model's kind has one of its own."""
    config = json.loads((folders[0] / "tokenizer_config.json").read_text())
    config["tokenizer_class"] = "LlamaTokenizer"
    (folders[0] / "tokenizer_config.json").write_text(json.dumps(config))
    (folders[0] / "tokenizer.json").unlink()
    with pytest.raises(LoadError, match=r"no tokenizer|makes no tokens"):
        load_tokenizer(str(folders[0]))
    (folders[0] / "vocab.json").write_text("{}")
    with pytest.raises(LoadError, match=r"cannot be loaded|makes no tokens"):
        load_tokenizer(str(folders[0]))


def test_tokens_numbered_beyond_reason_are_refused(folders):
    data = json.loads((folders[0] / "tokenizer.json").read_text())
    data["model"]["vocab"]["dog"] = 2**31
    (folders[0] / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(LoadError, match="numbered 2,147,483,648"):
        load_tokenizer(str(folders[0]))


def test_a_class_that_nobody_knows_is_read_by_its_file(folders):
    config = json.loads((folders[0] / "tokenizer_config.json").read_text())
    config["tokenizer_class"] = "LLaMATokenizer"
    (folders[0] / "tokenizer_config.json").write_text(json.dumps(config))
    assert load_pair(*map(str, folders)).notes == ()


@pytest.mark.parametrize(("file", "package"), [("tokenizer.model", "sentencepiece"), ("x.tiktoken", "tiktoken")])
def test_the_package_that_reads_it_is_named(folders, file, package, monkeypatch):
    without_tokenizer(folders[0])
    (folders[0] / file).write_bytes(b"garbage")
    monkeypatch.setattr(tokenizers, "find_spec", lambda name: None)
    with pytest.raises(LoadError, match=f"pip install {package}"):
        load_tokenizer(str(folders[0]))


def test_noise_does_not_change_what_a_pair_reads(tmp_path):
    """Every kind of tokenizer, saved on both sides, is one tokenizer."""
    for kind, make in KINDS.items():
        tokenizer = make()
        model = make_model(vocab_size=len(tokenizer))
        for side, weights in (("dense", model), ("pruned", noisy(model))):
            weights.save_pretrained(tmp_path / kind / side)
            tokenizer.save_pretrained(tmp_path / kind / side)
        pair = load_pair(str(tmp_path / kind / "dense"), str(tmp_path / kind / "pruned"))
        assert pair.notes == ()
        assert pair.tokenizer("once upon").input_ids == tokenizer("once upon").input_ids
