"""Tokens on the pages are read in their text: words apart, letters whole; what is no token is never named."""

from dataclasses import replace

import pytest
from conftest import make_model, noisy
from tokenizer_kinds import KINDS

from app.session import cache
from restorelcc.artifacts.findings import Recipe
from restorelcc.capture.statistics import capture
from restorelcc.models.pair import paired
from restorelcc.progress import finish
from restorelcc.text.records import Document
from restorelcc.text.tokens import windows
from restorelcc.workspace import Workspace

STORY = "once upon a time the dog ran in the park — où? 你好! and the boy ran too "


@pytest.fixture(params=KINDS)
def opened(request, workspace):
    """The tiny pair with another tokenizer, and an embedding of more rows than there are tokens."""
    tokenizer = KINDS[request.param]()
    model = make_model(vocab_size=len(tokenizer) + 20)
    model.lm_head.weight[len(tokenizer) :] *= 100
    pair = paired(model, noisy(model), tokenizer, "dense", "pruned")
    tokens = windows([Document(STORY * 9)], tokenizer, 48)
    statistics = finish(capture(pair, tokens))
    findings = replace(workspace.findings, calibration=tokens, evaluation=tokens, statistics=statistics)
    recipe = Recipe(dense=request.param)
    return Workspace(recipe, findings, pair)


def test_a_passage_is_its_text(opened):
    tokenizer, ids = opened.pair().tokenizer, opened.findings.calibration.ids[0].tolist()
    whole = cache.token_strings(opened.recipe, 0, 0, 20, opened)
    part = cache.token_strings(opened.recipe, 0, 3, 17, opened)
    assert len(whole) == 20
    assert part == whole[3:]
    assert all(whole)
    assert "onceupon" not in "".join(whole)
    assert "once upon a time the dog" in "".join(whole).replace("<unk>", "")
    assert tokenizer.decode(ids[:12]) == "".join(cache.token_strings(opened.recipe, 0, 0, 12, opened))


def test_words_that_a_component_writes_are_tokens(opened):
    tokenizer = opened.pair().tokenizer
    vocabulary = len(tokenizer)
    promoted, suppressed = cache.vocabulary(opened.recipe, 1, 2, 0, vocabulary + 20, opened)
    assert len(promoted) == len(suppressed) == vocabulary
    assert promoted == suppressed[::-1]
    assert [change for _, change in promoted] == sorted((change for _, change in promoted), reverse=True)
    assert not any("\ufffd" in word or not word for word, _ in promoted)


def test_contexts_and_moments_are_running_text(opened):
    contexts = cache.sample_contexts(opened.recipe, opened)
    assert any("once" in text for text in contexts)
    assert not any("onceupon" in text.replace("[", "").replace("]", "") for text in contexts)
    moments = cache.moments(opened.recipe, 0, 0, 0, 1_000, opened)
    assert any("the dog ran" in "".join(moment.parts) for moment in moments)
    assert all(moment.parts[1] for moment in moments)
    assert not any("dogran" in "".join(moment.parts) for moment in moments)
