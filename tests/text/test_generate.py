"""Our own decoding loop against Transformers'."""

import pytest
import torch

from restorelcc.compensation.constants import Constants, merged
from restorelcc.compensation.interface import compensated
from restorelcc.errors import SettingError
from restorelcc.hf.twins import with_output_biases
from restorelcc.text.generate import generate

PROMPT = torch.tensor([[0, 5, 9], [0, 7, 3]])


def drawn(model, prompt=PROMPT, most=12, **options):
    return torch.stack(list(generate(model, prompt, most, **options)), dim=1)


def test_greedy_equals_transformers(pair):
    expected = pair.dense.generate(PROMPT, attention_mask=torch.ones_like(PROMPT), do_sample=False, max_new_tokens=12,
                                   eos_token_id=None, pad_token_id=1)  # fmt: skip
    assert torch.equal(drawn(pair.dense, temperature=0), expected[:, 3:])


def test_the_same_seed_gives_the_same_text_whatever_else_draws(pair):
    first = drawn(pair.dense, seed=3)
    torch.rand(10)
    assert torch.equal(drawn(pair.dense, seed=3), first)
    assert not torch.equal(drawn(pair.dense, seed=4), first)


def test_samples_follow_the_models_distribution(pair):
    prompt = PROMPT[:1].repeat(4000, 1)
    counts = torch.bincount(drawn(pair.dense, prompt, most=1)[:, 0], minlength=pair.dense.config.vocab_size)
    expected = pair.dense(PROMPT[:1]).logits[0, -1].softmax(-1)
    assert (counts / 4000 - expected).abs().max() < 4 * (0.25 / 4000) ** 0.5


def test_generation_under_compensation_equals_the_merged_model(pair):
    c = Constants(torch.randn(3, 4, 8, generator=torch.Generator().manual_seed(0)))
    twin = with_output_biases(pair.pruned, merged(pair.pruned, c))
    with compensated(pair.pruned, c):
        ours = drawn(pair.pruned, temperature=0)
    assert torch.equal(ours, drawn(twin, temperature=0))
    assert not torch.equal(ours, drawn(pair.pruned, temperature=0))


def test_it_ends_when_every_row_has_ended(pair):
    free = drawn(pair.dense, temperature=0, most=12)[:1]
    stop = int(free[0, 4])
    first = free[0].tolist().index(stop)
    assert drawn(pair.dense, PROMPT[:1], temperature=0, stop=stop).shape[1] == first + 1


def test_nonsense_is_refused(pair):
    with pytest.raises(SettingError, match="at least one token"):
        drawn(pair.dense, PROMPT[:, :0])
    with pytest.raises(SettingError, match="temperature"):
        drawn(pair.dense, temperature=-1.0)


def test_rows_of_the_embedding_that_are_no_tokens_are_never_drawn(pair):
    known = torch.ones(pair.dense.config.vocab_size, dtype=torch.bool)
    assert torch.equal(drawn(pair.dense, seed=3, known=known), drawn(pair.dense, seed=3))
    likely = drawn(pair.dense, temperature=0).unique()
    known[likely] = False
    for temperature in (0.0, 1.0):
        assert not torch.isin(drawn(pair.dense, temperature=temperature, most=40, known=known), likely).any()
