"""What stands before text, how it is cut, what of it is scored: nothing twice, nothing left out without a word."""

import pytest
import torch
from conftest import WORDS, make_model
from families import make_family
from hypothesis import given
from hypothesis import strategies as st
from tokenizer_kinds import KINDS, byte_bpe, sentencepiece_like

from restorelcc.errors import LoadError, TextError
from restorelcc.progress import finish
from restorelcc.text import tokens as tokens_module
from restorelcc.text.calibration import calibration_tokens, evaluation_tokens, sampled_windows
from restorelcc.text.records import Document
from restorelcc.text.tokens import Cut, lead, own_start, read_together, rows, token_ids, tokenized, windows


@pytest.fixture(scope="module")
def pieces():
    return sentencepiece_like()


@pytest.fixture(scope="module")
def bytes_():
    return byte_bpe()


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.integers(2, 12), st.integers(1, 12), st.booleans())
def test_every_token_is_scored_once_the_last_short_window_included(tokenizer, lengths, length, stride, every):
    """Word for word: the scored ones of all windows, one after the other, are the text."""
    stride = min(stride, length)
    documents = [Document(" ".join(["dog", "cat", "ball"][at % 3] for at in range(count))) for count in lengths]
    tokens = windows(documents, tokenizer, length, stride, cut=Cut(keeps_last=True, start=(0,) if every else ()))
    scored = [int(token) for row, mask in zip(tokens.ids, tokens.scored, strict=True) for token in row[mask]]
    text = [token for document in documents for token in [0, *token_ids(tokenizer, document.text)]]
    assert not (tokens.scored & ~tokens.real).any()
    assert not tokens.scored[:, 0].any()
    if every:  # all of the text, and none of the starts
        assert (tokens.ids[:, 0] == 0).all()
        assert scored == [token for token in text if token]
    elif stride < length:
        assert scored == text[1:]
    else:  # windows side by side: the first token of each has nothing before it
        assert scored == [token for at, token in enumerate(text) if at % length]


def test_what_the_tokenizer_puts_before_text_is_neither_doubled_nor_scored(pieces):
    assert own_start(pieces) == lead(pieces) == [1]
    tokens = windows([Document("the dog"), Document("<s>a cat")], pieces, 200)
    ids = [1, *token_ids(pieces, "the dog"), 1, *token_ids(pieces, "a cat")]
    # Where the text itself has the token, the words after it are no longer at its beginning.
    assert (tokens.ids[0] == 1).nonzero().flatten().tolist() == [0, ids.index(1, 1)]
    assert torch.equal(tokens.scored, tokens.ids != 1)


def test_a_token_that_ends_texts_is_predicted_and_scored(bytes_, tokenizer):
    assert own_start(bytes_) == own_start(tokenizer) == []
    tokens = windows([Document("the dog"), Document("a cat")], bytes_, 200)
    assert (tokens.ids == bytes_.eos_token_id).sum() == 2
    assert tokens.count == tokens.ids.numel() - 1


def test_end_of_text_parts_documents_where_turns_of_a_chat_begin_and_end_otherwise():
    tokenizer = byte_bpe()
    tokenizer.add_special_tokens({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"})
    assert tokenizer.convert_ids_to_tokens(lead(tokenizer)) == ["<|endoftext|>"]


def test_models_that_need_a_start_get_one_in_every_window(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("<s>once upon a time there was a dog<|endoftext|>the cat ran in the park and the dog ran too")
    for adds in (True, False):  # some of these tokenizers add none
        pieces = sentencepiece_like(adds_start=adds)
        model = make_family("gemma2", vocab_size=len(pieces))
        for tokens in (
            evaluation_tokens(str(text), model, pieces, 8),
            finish(calibration_tokens(str(text), model, pieces, 8)),
        ):
            assert (tokens.ids[:, 0] == 1).all()
            assert not tokens.scored[tokens.ids == 1].any()
            assert not (tokens.ids[:, 1] == 1).any()
            said = [int(token) for row, mask in zip(tokens.ids, tokens.scored, strict=True) for token in row[mask]]
            first = token_ids(pieces, "<s>once upon a time there was a dog")[1:]
            assert said == first + token_ids(pieces, "the cat ran in the park and the dog ran too")
            assert "begins with <s>" in tokens.notes[-1]
    plain = make_model(vocab_size=len(pieces))
    assert (evaluation_tokens(str(text), plain, pieces, 8).ids[:, 0] == 1).sum() == 1


def test_what_is_beyond_the_windows_asked_for_is_said(tokenizer):
    documents = [Document("the dog ran")] * 50
    assert windows(documents, tokenizer, 8, most=3).notes == (
        "The first 6 of 50 texts fill the 3 windows that were asked for.",
    )
    assert windows([Document("the dog " * 50)], tokenizer, 8, most=3).notes == (
        "3 of 12 windows are used, as many as were asked for.",
    )
    assert windows(documents, tokenizer, 8, most=25).notes == windows(documents, tokenizer, 8).notes == ()


def test_prompts_without_room_for_an_answer_are_left_out_and_counted(tokenizer):
    documents = [
        Document(" the dog", "who ran"), Document(" the cat", "who ran in the park with the boy"),
        Document(" the dog and the cat and the boy", "who ran"), Document(" mom", "who sat"),
    ]  # fmt: skip
    tokens = rows(documents, tokenizer, 8)
    assert len(tokens) == 3
    assert tokens.response.any(1).all()
    assert tokens.notes == (
        "1 of 4 prompts leave no room for an answer in 8 tokens: left out.",
        "1 of 4 answers are cut off at 8 tokens.",
    )
    assert rows(documents, tokenizer, 8, most=1).notes == (
        "The first 1 of 4 prompts are used, as many as were asked for.",
    )
    with pytest.raises(TextError, match="no room for their answers"):
        rows(documents[1:2], tokenizer, 8)


def test_prompts_and_plain_text_stand_together(tokenizer):
    documents = [Document("the dog ran and ran and ran"), Document(" the dog", "who ran"), Document("a cat sat")]
    tokens = tokenized(documents, tokenizer, 6)
    alone = rows(documents[1:2], tokenizer, 6)
    packed = windows([documents[0], documents[2]], tokenizer, 6)
    assert len(tokens) == len(alone) + len(packed)
    assert tokens.ids[0, tokens.real[0]].tolist() == alone.ids[0].tolist()
    assert torch.equal(tokens.ids[1:], packed.ids)
    assert torch.equal(tokens.response[1:], packed.scored)
    assert tokens.response[0].sum() == 2
    many = tokenized(documents * 20, tokenizer, 6, most=6)
    assert len(many) == 6
    assert int((many.response != many.scored).any(1).sum()) == 2  # a third of the texts are prompts


@pytest.mark.parametrize(
    ("prompt", "response", "answer"),
    [
        ("who ran", " the dog", " the dog"),
        ("who ran\n", "the dog", "the dog"),
        ("who ran: ", "the dog", " the dog"),  # the space is of the answer's first token
        ("你", "好", "好"),
    ],
)
@pytest.mark.parametrize("kind", ["pieces", "bytes_"])
def test_prompt_and_answer_are_read_together(kind, prompt, response, answer, request, monkeypatch):
    tokenizer = request.getfixturevalue(kind)
    ids, count = read_together(tokenizer, prompt, response)
    assert ids == tokenizer(prompt + response, add_special_tokens=False).input_ids
    whole, asked = tokenizer.decode(ids), tokenizer.decode(ids[:count])
    assert whole == prompt + response
    assert whole.removeprefix(asked) in (answer, response)
    assert asked in (prompt, prompt.rstrip(" "))
    # Those that do not say where their tokens are from: up to where it is as the prompt is alone.
    monkeypatch.setattr(type(tokenizer), "is_fast", False)
    assert read_together(tokenizer, prompt, response) == (ids, count)


def test_rows_are_read_as_the_model_reads_them(pieces):
    tokens = rows([Document("the dog", "who ran\n")], pieces, 64)
    assert tokens.ids[0].tolist() == [1, *token_ids(pieces, "who ran\nthe dog")]
    assert pieces.decode(tokens.ids[0][tokens.response[0]]) == "the dog"


def test_tokens_without_an_embedding_are_one_clear_line(tmp_path):
    tokenizer = byte_bpe()
    model = make_model(vocab_size=len(tokenizer))
    tokenizer.add_tokens(["<new>"])
    (tmp_path / "text.txt").write_text("the dog ran in the park " * 9)
    assert evaluation_tokens(str(tmp_path / "text.txt"), model, tokenizer, 16).count
    (tmp_path / "text.txt").write_text("the dog ran <new> in the park " * 9)
    for read in (evaluation_tokens, lambda *given: finish(calibration_tokens(*given))):
        with pytest.raises(LoadError, match=r"makes '<new>' of this text, token 400, .* 400 tokens"):
            read(str(tmp_path / "text.txt"), model, tokenizer, 16)


def test_text_of_the_models_own_is_made_of_tokens(tokenizer):
    """Embeddings have rows beyond the tokenizer's, and models are not sure to leave them alone."""
    model = make_model(vocab_size=64)
    model.lm_head.weight[len(tokenizer) :] *= 100
    assert int(finish(sampled_windows(model, tokenizer, 16, 20)).ids.max()) < len(tokenizer)


@pytest.mark.parametrize("kind", KINDS)
def test_of_a_long_text_only_a_beginning_is_read_and_its_tokens_are_the_same(kind, monkeypatch):
    tokenizer, read = KINDS[kind](), []
    text = " ".join(WORDS) * 40
    whole_text = windows([Document(text)], tokenizer, 16, most=2)
    monkeypatch.setattr(tokens_module, "LONG", 1_000)

    def encoded(tokenizer, text, **how):
        read.append(len(text))
        return tokens_of(tokenizer, text, **how)

    tokens_of = tokens_module.encoded
    monkeypatch.setattr(tokens_module, "encoded", encoded)
    part = windows([Document(text)], tokenizer, 16, most=2)
    assert torch.equal(part.ids, whole_text.ids)
    assert torch.equal(part.scored, whole_text.scored)
    assert max(read) < len(text) / 2
    assert part.notes == ("The text is read as far as the 2 windows go that were asked for.",)
    asked = rows([Document(text, "the cat ")], tokenizer, 16)
    assert max(read) < len(text) / 2
    assert asked.notes == ("1 of 1 answers are cut off at 16 tokens.",)
