"""Many people at once: every number is the engine's, nothing breaks, nothing grows. A short run; `crowd.py` is for long
ones, and says how long people wait."""

import pytest
from crowd import FILLED, PATIENCE, crowd, memory, served, wrong

pytestmark = pytest.mark.load


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


def test_ten_people_who_pick_at_once_get_the_numbers_that_each_would_alone(home, monkeypatch):
    with served(home) as (port, process):
        assert crowd(port, 1, 1).troubles == []  # opens the pair
        assert crowd(port, 10, PATIENCE, seed=1, enough=FILLED).troubles == []
        before = memory(process)
        seen = crowd(port, 10, 20, seed=2)
        after = memory(process)
    assert seen.troubles == []
    assert len({picks for picks, _ in seen.numbers}) == len(seen.numbers) >= 10
    monkeypatch.setenv("XDG_CACHE_HOME", str(home))
    assert wrong(seen) == []
    assert after < 1.1 * before
