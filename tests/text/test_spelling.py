"""Tokens as text: joined they give it back, whatever kind of tokenizer, and every one can be read."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_kinds import KINDS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from restorelcc.text.spelling import known_tokens, readable, token_string, token_strings

TEXT = "Once upon a time, 42 dogs — où? 你好 😀 — ran  to\n\tthe park ! don't"


@pytest.fixture(scope="module", params=[*KINDS, "WordPiece"])
def tokenizer(request):
    if request.param != "WordPiece":
        return KINDS[request.param]()
    pieces = ["[UNK]", "once", "up", "##on", "a", "time", "don", "'", "t", ".", "the", "dog"]
    backend = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Whitespace(), decoders.WordPiece(cleanup=False)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]")


@given(
    st.one_of(
        st.just(TEXT),
        st.just("a \ufffd dog"),
        st.text(max_size=30),
        st.lists(st.sampled_from(TEXT.split())).map(" ".join),
    )
)
def test_joined_they_are_the_text(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False).input_ids
    spelled = token_strings(tokenizer, ids)
    assert len(spelled) == len(ids)
    assert "".join(spelled) == tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    assert all(readable(tokenizer, ids))


@given(st.lists(st.integers(0, 700), max_size=12))
def test_any_ids_can_be_read(tokenizer, ids):
    for spelled in (token_strings(tokenizer, ids), readable(tokenizer, ids), [token_string(tokenizer, i) for i in ids]):
        assert len(spelled) == len(ids)
        assert not any("\ufffd" in text for text in spelled)
    assert all(readable(tokenizer, ids))
    for token, text in zip(ids, token_strings(tokenizer, ids), strict=True):
        if token >= len(tokenizer):
            assert text == f"<{token}>"


@pytest.mark.parametrize("kind", KINDS)
def test_words_are_not_glued(kind):
    tokenizer = KINDS[kind]()
    ids = tokenizer("once upon a time the dog ran").input_ids
    for start in range(len(ids)):
        assert "onceupon" not in "".join(token_strings(tokenizer, ids[start:]))
    words = "".join(token_strings(tokenizer, ids)).removeprefix("<s>").split()
    assert words == (["once", "upon", "a", "time", "the", "dog", "ran"])


def test_letters_of_several_bytes():
    for kind, space in (("byte BPE", ""), ("SentencePiece-like", " ")):
        tokenizer = KINDS[kind]()
        ids = tokenizer("你", add_special_tokens=False).input_ids
        bytes_ = ["<0xE4>", "<0xBD>", "<0xA0>"]
        assert token_strings(tokenizer, ids)[-3:] == ["", "", "你"]
        assert readable(tokenizer, ids)[-3:] == ["<0xE4>", "<0xBD>", "你"]
        assert [token_string(tokenizer, token) for token in ids[-3:]] == bytes_
        assert token_strings(tokenizer, ids[:-1])[-2:] == bytes_[:2]  # cut within the letter
        assert token_strings(tokenizer, ids[-2:]) == bytes_[1:]  # begun within it
        after = tokenizer("the", add_special_tokens=False).input_ids
        assert "".join(token_strings(tokenizer, ids[-3:-1] + after)) == "<0xE4><0xBD>" + space + "the"


def test_alone_a_token_keeps_the_space_that_is_its_own():
    pieces, bpe = KINDS["SentencePiece-like"](), KINDS["byte BPE"]()
    assert token_string(pieces, pieces.convert_tokens_to_ids("▁the")) == " the"
    assert token_string(pieces, pieces.convert_tokens_to_ids("▁")) == " "
    assert token_string(pieces, 1) == "<s>"
    assert token_string(bpe, bpe.convert_tokens_to_ids("Ġthe")) == " the"


def test_rows_of_an_embedding_that_are_no_tokens_are_known():
    tokenizer = KINDS["byte BPE"]()
    tokenizer.add_tokens(["<new>"])
    assert torch.equal(known_tokens(tokenizer, 512), torch.arange(512) < 401)
    assert known_tokens(tokenizer, 300).all()
