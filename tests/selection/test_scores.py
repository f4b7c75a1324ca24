"""Every row of the table of scores can be computed, and README's list is the table."""

from pathlib import Path

import pytest
import torch

from restorelcc.capture.components import LostComponents
from restorelcc.capture.head_loss import METRICS, head_loss
from restorelcc.capture.statistics import HeadStatistics
from restorelcc.errors import SettingError
from restorelcc.models.pair import ModelPair
from restorelcc.progress import finish
from restorelcc.selection.scores import SCORES, ScoreInputs, captured, scores_table
from restorelcc.selection.scoring import score_heads
from restorelcc.text.tokens import Tokens


@pytest.fixture
def inputs(pair: ModelPair, statistics: HeadStatistics, lost: LostComponents, tokens: Tokens) -> ScoreInputs:
    return ScoreInputs(pair, statistics, lost, tokens, tokens)


@pytest.mark.parametrize("name", SCORES)
def test_every_score_is_a_number_a_head(name: str, inputs: ScoreInputs):
    score = finish(score_heads(name, inputs))
    assert score.values.shape == (3, 4)
    assert score.values.dtype == torch.float64
    assert score.values.isfinite().all()
    assert score.errors is None or (score.errors.shape == (3, 4) and bool((score.errors >= 0).all()))


def test_measures_of_loss_are_the_captures(inputs: ScoreInputs, statistics: HeadStatistics):
    assert set(captured()) == set(METRICS)
    for name in METRICS:
        torch.testing.assert_close(finish(score_heads(name, inputs)).values, head_loss(statistics).table(name))


def test_chance_is_the_same_for_the_same_seed(inputs: ScoreInputs):
    first, again = (finish(score_heads("random", inputs)).values for _ in range(2))
    assert torch.equal(first, again)


def test_a_name_that_is_none_is_refused_with_the_list(inputs: ScoreInputs):
    with pytest.raises(SettingError, match=r"'beauty' is not known: give one of relative_error, .*, random"):
        finish(score_heads("beauty", inputs))


def test_readmes_list_is_the_table():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    between = readme.split("<!-- scores -->")[1].split("<!-- /scores -->")[0]
    assert between.strip() == scores_table()
