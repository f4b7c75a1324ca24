"""What a component says, against slow and plain computations."""

import pytest
import torch
from conftest import make_model, make_tokens, z_values
from families import logits_with, make_family
from tokenizer_kinds import KINDS

from restorelcc.capture.statistics import capture
from restorelcc.capture.vocabulary import (
    context,
    in_context,
    strongest_moments,
    strongest_words,
    vocabulary_effect,
    written_alike,
)
from restorelcc.compensation.constants import Constants
from restorelcc.compensation.interface import compensated
from restorelcc.hf.layout import attention_norm, decoder_layers, final_norm, output_projections
from restorelcc.hf.weights import prunable, weight_of
from restorelcc.progress import finish
from restorelcc.text.tokens import Tokens


@pytest.fixture
def direction():
    return torch.nn.functional.normalize(torch.randn(8, generator=torch.Generator().manual_seed(1)), dim=0)


def with_gain(**changes):
    model = make_model(**changes)
    model.model.norm.weight.data.uniform_(0.5, 2.0)
    return model


@pytest.mark.parametrize("tied", [False, True])
def test_the_effect_equals_a_loop_over_the_vocabulary(direction, tied):
    model = with_gain(tie_word_embeddings=tied)
    effect = vocabulary_effect(model, 1, 2, direction)
    written = model.model.layers[1].self_attn.o_proj.weight[:, 16:24] @ direction
    slow = [sum(row[i] * model.model.norm.weight[i] * written[i] for i in range(24)) for row in model.lm_head.weight]
    torch.testing.assert_close(effect, torch.stack(slow), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("amount", [0.1, 3.0])
def test_where_nothing_follows_it_is_what_happens_to_the_logits(direction, tokens, amount):
    """With the MLP silent, one layer's heads write straight to the final norm. Logits times the RMS that the norm
    divides by are then linear in what is put back, whatever its size: their change is the effect itself."""
    model = with_gain(num_hidden_layers=1)
    model.model.layers[0].mlp.down_proj.weight.data.zero_()
    stream = []
    hook = model.model.norm.register_forward_pre_hook(lambda _, args: stream.append(args[0]))
    vectors = torch.zeros(1, 4, 8)
    vectors[0, 2] = amount * direction
    before = model(tokens.ids).logits
    with compensated(model, Constants(vectors)):
        after = model(tokens.ids).logits
    hook.remove()
    rms = [(x.square().mean(-1, keepdim=True) + model.config.rms_norm_eps).sqrt() for x in stream]
    change = (after * rms[1] - before * rms[0]) / amount
    expected = vocabulary_effect(model, 0, 2, direction)
    torch.testing.assert_close(change, expected.expand_as(change), rtol=1e-3, atol=1e-3)
    assert expected.abs().max() > 0.1


def test_moments_are_the_tokens_where_most_was_lost(pair, tokens, tokenizer, statistics, lost):
    direction = lost.directions[1, 2, 0]
    moments = strongest_moments(statistics.samples, tokens, tokenizer, 1, 2, direction, most=5, around=3)
    gap = (z_values(pair.dense, tokens.ids) - z_values(pair.pruned, tokens.ids))[1, :, :, 16:24] @ direction.float()
    order = gap.flatten().abs().argsort(descending=True)[:5]
    assert [moment.value for moment in moments] == pytest.approx(gap.flatten()[order].tolist(), rel=1e-3)
    for moment, index in zip(moments, order.tolist(), strict=True):
        text, pos = divmod(index, 16)
        line = tokens.ids[text].tolist()
        parts = (line[max(0, pos - 3) : pos], [line[pos]], line[pos + 1 : pos + 4])
        assert (moment.before, moment.token, moment.after) == tuple(map(tokenizer.decode, parts))


def test_all_samples_can_be_asked_for(tokens, tokenizer, statistics, lost):
    moments = strongest_moments(statistics.samples, tokens, tokenizer, 0, 0, lost.directions[0, 0, 1], most=10_000)
    sizes = [abs(moment.value) for moment in moments]
    assert sizes == sorted(sizes, reverse=True)
    assert len(moments) == tokens.ids.numel()
    assert {moment.value > 0 for moment in moments} == {True, False}  # a loss may have either sign


def test_context_ends_where_the_text_does(tokenizer):
    line = "once upon a time the dog ran in the park".split()
    ids = torch.tensor([[*tokenizer.convert_tokens_to_ids(line), 1, 1, 1]])
    real = torch.arange(13)[None] < 10
    tokens = Tokens(ids, real, real, real)
    assert context(tokens, tokenizer, 0, 0, around=2) == ("", "once", "upon a")
    assert context(tokens, tokenizer, 0, 1, around=2) == ("once", "upon", "a time")
    assert context(tokens, tokenizer, 0, 5, around=2) == ("time the", "dog", "ran in")
    assert context(tokens, tokenizer, 0, 9, around=2) == ("in the", "park", "")  # no padding


@pytest.mark.parametrize("kind", KINDS)
def test_in_context_the_three_are_the_running_text(kind):
    """Each by itself loses the spaces between them; here they give the text back."""
    tokenizer = KINDS[kind]()
    ids = torch.tensor([tokenizer("once upon a time the dog ran in the park").input_ids])
    real = torch.ones_like(ids, dtype=torch.bool)
    tokens = Tokens(ids, real, real, real)
    text = tokenizer.decode(ids[0])
    for pos in range(ids.shape[1]):
        assert "".join(in_context(tokens, tokenizer, 0, pos, around=99)) == text
        near = in_context(tokens, tokenizer, 0, pos, around=1)
        assert "".join(near) in text
        assert near[1].strip() == context(tokens, tokenizer, 0, pos)[1].strip()


def test_words_are_those_of_the_strongest_tokens(tokenizer):
    effect = torch.arange(64.0)  # more rows than tokens
    promoted, suppressed = strongest_words(effect, tokenizer, 3)
    last = len(tokenizer) - 1
    assert promoted == [(tokenizer.decode([token]), float(token)) for token in (last, last - 1, last - 2)]
    assert suppressed == [("<s>", 0.0), ("</s>", 1.0), ("<unk>", 2.0)]


def test_moments_of_padded_texts_are_of_real_tokens(pair, tokenizer, lost):
    full = make_tokens(texts=2, length=12)
    real = full.real.clone()
    real[1, 4:] = False
    ragged = Tokens(torch.where(real, full.ids, 0), real, full.scored & real, full.scored & real)
    samples = finish(capture(pair, ragged)).samples
    moments = strongest_moments(samples, ragged, tokenizer, 2, 1, lost.directions[2, 1, 0], most=100, around=0)
    assert sorted(moment.token for moment in moments) == sorted(
        tokenizer.decode([i]) for i in ragged.ids[real].tolist()
    )


STREAM = {
    "llama": {}, "gemma2": {"final_logit_softcapping": None}, "gemma3_text": {}, "olmo2": {}, "granite": {},
    "gpt2": {}, "opt": {}, "phi": {}, "gpt_neox": {"use_parallel_residual": False},
}  # fmt: skip


@pytest.mark.parametrize("model_type", STREAM)
def test_what_a_head_says_is_what_happens_to_the_logits_where_nothing_follows(model_type):
    """In the last layer, its MLP silent: logits times the RMS that norms divide by are linear in what is put back."""
    model, ids = make_family(model_type, **STREAM[model_type]), make_tokens(texts=2).ids
    last = decoder_layers(model)[-1]
    for name, matrix in prunable(last).items():
        if name.startswith("mlp.") or name in ("fc1", "fc2"):
            matrix.weight.zero_()
            if getattr(matrix.module, "bias", None) is not None:
                matrix.module.bias.zero_()
    direction = torch.nn.functional.normalize(torch.arange(8.0) - 3, dim=0)
    if model_type.startswith(("gemma", "olmo")):
        # A second norm. Its RMS is left out of the effect, so it must not move with what is put back: beside
        # something large and at right angles it does not.
        written = weight_of(output_projections(model)[-1])[:, 16:24] @ direction
        large = 1e3 * torch.cos(torch.arange(24))
        large -= (large @ written) / (written @ written) * written
        output_projections(model)[-1].register_forward_hook(lambda _, args, out: out + large)
    vectors = torch.zeros(2, 4, 8)
    vectors[1, 2] = 3 * direction
    streams, inner = [], []
    hook = final_norm(model).register_forward_pre_hook(lambda _, args: streams.append(args[0]))
    own = attention_norm(last)
    own_hook = own.register_forward_pre_hook(lambda _, args: inner.append(args[0])) if own else hook
    still = model.get_output_embeddings()
    before, after = model(ids).logits, logits_with(model, Constants(vectors), ids)
    hook.remove()
    own_hook.remove()
    centred = isinstance(final_norm(model), torch.nn.LayerNorm)
    rms = [(x - centred * x.mean(-1, keepdim=True)).square().mean(-1, keepdim=True).sqrt() for x in streams]
    # Logits without what does not come through the norm: its bias, and the unembedding's.
    constant = still(torch.zeros(still.in_features))
    if centred:
        constant = still(out_of(model, final_norm(model).bias))
    change = ((after - constant) * rms[1] - (before - constant) * rms[0]) / 3
    if own is not None:
        change = change * inner[0].square().mean(-1, keepdim=True).sqrt()
    expected = vocabulary_effect(model, 1, 2, direction)
    assert expected.abs().max() > 0.05
    torch.testing.assert_close(change, expected.expand_as(change), rtol=1e-2, atol=1e-2 * float(expected.abs().max()))


def out_of(model, x):
    """Small OPT projects once more between the final norm and the unembedding."""
    between = getattr(model.get_decoder(), "project_out", None)
    return x if between is None else between(x)


def test_components_are_compared_where_they_write(pair, lost):
    found = written_alike(pair.dense, lost.directions, 1, 2, 3)
    columns = slice(16, 24)
    written = [layer.self_attn.o_proj.weight[:, columns] for layer in pair.dense.model.layers]
    ours = written[1] @ lost.directions[1, 2, 3].float()
    for layer, component in ((0, 5), (2, 0), (1, 3)):
        other = written[layer] @ lost.directions[layer, 2, component].float()
        assert float(found[layer, component]) == pytest.approx(
            float(torch.cosine_similarity(ours, other, dim=0)), abs=1e-5
        )
    assert float(found[1, 3]) == pytest.approx(1.0, abs=1e-5)
