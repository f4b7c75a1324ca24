"""One small tokenizer of every kind that language models have, made here so that nothing is downloaded."""

import json

from conftest import WORDS, make_tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from restorelcc.text import sources

SAID = sources.ASSETS / "calibration.txt"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
SPECIAL = ["<unk>", "<s>", "</s>"]


def word_level() -> PreTrainedTokenizerFast:
    """A token a word; text is put together with spaces, which are no token's."""
    return make_tokenizer(WORDS)


def byte_bpe(size: int = 400) -> PreTrainedTokenizerFast:
    """As GPT-2 and most since: any bytes, the space before a word its own; nothing is put before a text."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([SAID.read_text()[:40_000]], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|endoftext|>", eos_token="<|endoftext|>")


def sentencepiece_like(size: int = 180, adds_start: bool = True) -> PreTrainedTokenizerFast:
    """As Llama 2, Mistral and Gemma: spaces are ▁, bytes stand in for letters it does not know, and `<s>` is put before
    every text."""
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trained.train_from_iterator([SAID.read_text()[:20_000]], trainers.BpeTrainer(vocab_size=size, show_progress=False))
    learnt = json.loads(trained.to_str())["model"]
    pieces = [*SPECIAL, *BYTES, *sorted(learnt["vocab"], key=learnt["vocab"].get)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    merges = [tuple(pair) for pair in learnt["merges"]]
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    if adds_start:
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


KINDS = {"WordLevel": word_level, "byte BPE": byte_bpe, "SentencePiece-like": sentencepiece_like}
