"""Perplexity of the picks: what anybody gets is what the engine gives for theirs alone."""

import math
import random
import threading
from dataclasses import replace

import pytest
import torch
from conftest import WORDS

from app.shell import header
from app.values.picks import Picks
from app.work.live import Lane, Superseded, compared, unpicked
from restorelcc.artifacts.findings import Recipe
from restorelcc.compensation.constants import injected
from restorelcc.compensation.interface import compensated
from restorelcc.errors import LoadError
from restorelcc.evaluation.perplexity import TokenLoss, perplexity, token_loss
from restorelcc.evaluation.prefix import Prefix
from restorelcc.progress import finish
from restorelcc.selection.picks import Selection, everything, of_heads
from restorelcc.workspace import Workspace, open_workspace

SHAPE = (3, 4, 8)
ONE = Picks(of_heads(SHAPE, [(0, 1), (2, 2)]))
TWO = Picks(Selection(SHAPE, frozenset({(1, 0, 0), (2, 3, 1)}))).scaled((1, 0, 0), 2.5)
SOON = 30


@pytest.fixture(scope="module")
def workspace(pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    for name in ("dense", "pruned"):
        getattr(pair, name).save_pretrained(folder / name)
        pair.tokenizer.save_pretrained(folder / name)
    story = folder / "story.txt"
    story.write_text(" ".join(random.Random(0).choices(WORDS, k=800)))
    recipe = Recipe(
        str(folder / "dense"), str(folder / "pruned"), calibration=str(story), evaluation=str(story),
        windows=8, captured=4, evaluated=12, length=16,
    )  # fmt: skip
    return finish(open_workspace(recipe))


def test_with_nothing_picked_nothing_is_recovered_and_nothing_nearer(workspace):
    known = unpicked(workspace)
    assert (known.gain.nats, known.nearer.value, known.nearer.stderr) == (0, 0, 0)


@pytest.fixture
def lane():
    return Lane()


@pytest.fixture
def held(lane, workspace):
    """The lane's thread, kept busy until the event is set."""
    began, go = threading.Event(), threading.Event()

    def wait():
        began.set()
        go.wait(SOON)

    thread = threading.Thread(target=lane.run, args=(workspace, wait))
    thread.start()
    assert began.wait(SOON)
    yield go
    go.set()
    thread.join()


@pytest.fixture
def several(lane, monkeypatch):
    """More than one core for a lane; names of the threads that measure there."""
    names, usual = [], Prefix.after

    def noted(prefix, *arguments, **named):
        names.append(threading.current_thread().name)
        return usual(prefix, *arguments, **named)

    monkeypatch.setattr(Prefix, "after", noted)
    monkeypatch.setattr(lane, "_cores", 4)
    return names


def alone(workspace, picks, tokens):
    """The engine's own answer."""
    model = workspace.pair().pruned
    with compensated(model, injected(workspace.lost, picks.weights())):
        return perplexity(token_loss(model, tokens))


def test_two_people_at_once_each_get_the_number_they_would_get_alone(lane, workspace):
    live = workspace.findings.live
    barrier, got = threading.Barrier(2), {}

    def person(owner, picks):
        barrier.wait()
        got[owner] = lane.ask(workspace, picks, owner).result(SOON)

    threads = [threading.Thread(target=person, args=pair) for pair in (("a", ONE), ("b", TWO))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got["a"].picked == alone(workspace, ONE, live)
    assert got["b"].picked == alone(workspace, TWO, live)
    assert got["a"].picked != got["b"].picked
    for measured in got.values():
        assert measured.pruned == perplexity(token_loss(workspace.pair().pruned, live))
        assert measured.dense == perplexity(token_loss(workspace.pair().dense, live))
        assert measured.windows == len(live)


def test_many_people_at_once_are_measured_on_a_core_each_and_get_what_they_would_alone(lane, workspace, held, several):
    chosen = [ONE.scaled((layer, head, 0), 1.5 + head) for layer in range(3) for head in range(4)]
    waiting = [lane.ask(workspace, picks, str(picks.factors)) for picks in chosen]
    assert [lane.ahead(workspace, picks) for picks in chosen] == list(range(12))
    held.set()
    for asked, picks in zip(waiting, chosen, strict=True):
        measured, expected = asked.result(SOON).picked, alone(workspace, picks, workspace.findings.live)
        assert measured.nats == pytest.approx(expected.nats, rel=1e-7)  # sums in another order, in float32
        assert measured.stderr == pytest.approx(expected.stderr, rel=1e-5)
    assert len({name for name in several if name.startswith("ThreadPool")}) > 1
    assert lane.ahead(workspace, chosen[-1]) == 0
    assert not lane._asked
    assert not lane._wanted


def test_of_many_people_who_wait_those_who_changed_their_mind_are_left_out(lane, workspace, held, several):
    old = [lane.ask(workspace, ONE.scaled((0, 1, 0), 2.0 + owner), str(owner)) for owner in range(6)]
    new = [lane.ask(workspace, TWO.scaled((0, 1, 0), 2.0 + owner), str(owner)) for owner in range(6)]
    held.set()
    for asked in old:
        with pytest.raises(Superseded):
            asked.result(SOON)
    assert len({asked.result(SOON).picked.value for asked in new}) == 6


def test_one_whose_measurement_fails_takes_no_other_along(lane, workspace, held, several, monkeypatch):
    def fails(lost, weights):
        if weights[0, 1, 0] == 2.0:
            raise LoadError("Unlucky.")
        return injected(lost, weights)

    monkeypatch.setattr("app.work.live.injected", fails)
    asked = [lane.ask(workspace, ONE.scaled((0, 1, 0), 2.0 + owner), str(owner)) for owner in range(5)]
    held.set()
    with pytest.raises(LoadError, match="Unlucky"):
        asked[0].result(SOON)
    assert len({each.result(SOON).picked.value for each in asked[1:]}) == 4
    assert not lane._asked


def test_who_asks_again_gives_up_what_was_asked_before(lane, workspace, held):
    old, new = lane.ask(workspace, ONE, "me"), lane.ask(workspace, TWO, "me")
    held.set()
    with pytest.raises(Superseded):
        old.result(SOON)
    assert new.result(SOON).picked == alone(workspace, TWO, workspace.findings.live)
    assert lane.known(workspace, ONE) is None
    assert lane.ask(workspace, ONE, "me").result(SOON).picked == alone(workspace, ONE, workspace.findings.live)


def test_clearing_the_picks_gives_up_too(lane, workspace, held):
    old = lane.ask(workspace, ONE, "me")
    assert lane.ask(workspace, Picks.none(SHAPE), "me").done()
    held.set()
    with pytest.raises(Superseded):
        old.result(SOON)


def test_nobody_loses_what_another_still_wants(lane, workspace, held):
    mine, theirs = (lane.ask(workspace, ONE, owner) for owner in ("me", "they"))
    lane.ask(workspace, TWO, "me")
    held.set()
    assert theirs.result(SOON).picked == alone(workspace, ONE, workspace.findings.live)
    assert mine is theirs  # measured once for both


class Watched:
    """A lock that calls `then` the moment after a measurement was given up under it."""

    def __init__(self, then):
        self._lock, self._then = threading.Lock(), then

    def __enter__(self):
        self._lock.acquire()

    def __exit__(self, kind, *_):
        self._lock.release()
        if kind is Superseded:
            self._then()


def test_asking_again_while_it_is_being_given_up_is_answered(lane, workspace, held):
    again = []
    lane._lock = Watched(lambda: again.append(lane.ask(workspace, ONE, "me")))
    old = lane.ask(workspace, ONE, "me")
    lane.ask(workspace, TWO, "me")
    held.set()
    with pytest.raises(Superseded):
        old.result(SOON)
    assert again[0].result(SOON).picked == alone(workspace, ONE, workspace.findings.live)


def test_nothing_picked_is_known_without_models(lane, workspace, monkeypatch):
    closed = Workspace(workspace.recipe, workspace.findings)
    monkeypatch.setattr(closed, "pair", lambda: pytest.fail("the models were loaded"))
    none = Picks.none(SHAPE)
    known = lane.known(closed, none)
    assert known.picked == known.pruned == perplexity(workspace.findings.live_pruned)
    assert (known.gain.nats, known.gain.stderr) == (0, 0)
    assert lane.ask(closed, none, "me").result(0) == known
    assert lane.known(closed, none, full=True) is None
    assert lane.known(closed, ONE) is None


def test_what_was_measured_is_known(lane, workspace):
    measured = lane.ask(workspace, ONE, "me").result(SOON)
    assert lane.known(workspace, ONE) is measured
    assert lane.ask(workspace, ONE, "they").result(0) is measured


def test_a_failed_load_reaches_who_asked_and_is_tried_again(lane, workspace, monkeypatch):
    closed = Workspace(workspace.recipe, workspace.findings)
    answers = [LoadError("There is no folder.")]

    def load(*_):
        if answers:
            raise answers.pop()
        return workspace.pair()

    monkeypatch.setattr("restorelcc.workspace.load_pair", load)
    with pytest.raises(LoadError, match="no folder"):
        lane.ask(closed, ONE, "me").result(SOON)
    assert lane.ask(closed, ONE, "me").result(SOON).picked == alone(workspace, ONE, workspace.findings.live)


def test_the_full_set_equals_a_plain_computation(lane, workspace):
    tokens, pair = workspace.findings.evaluation, workspace.pair()
    first = list_and_result(lane.measure_fully(workspace, ONE))
    second = list_and_result(lane.measure_fully(workspace, TWO))
    for picks, (_, measured) in ((ONE, first), (TWO, second)):
        assert measured.dense == perplexity(token_loss(pair.dense, tokens))
        assert measured.pruned == perplexity(token_loss(pair.pruned, tokens))
        assert measured.picked == alone(workspace, picks, tokens)
        assert lane.known(workspace, picks, full=True) is measured
        assert lane.known(workspace, picks) is None  # the live set is another text
    # Each step is a batch of one model; the pruned one by itself is measured once, the dense one is held against anew.
    assert 2 * (len(first[0]) - 1) == 3 * (len(second[0]) - 1)
    assert first[1].nearer.known


def list_and_result(work):
    steps = []
    return steps, finish(work, steps.append)


def test_nothing_is_in_place_while_the_full_set_is_measured(lane, workspace):
    model, ids = workspace.pair().pruned, workspace.findings.live.ids[:2]
    before = model(ids).logits
    for _ in lane.measure_fully(workspace, Picks(everything(SHAPE))):
        assert torch.equal(model(ids).logits, before)


def test_what_is_kept_is_bounded(lane, workspace, monkeypatch):
    monkeypatch.setattr("app.work.live.KEPT", 2)
    asked = [ONE.scaled((0, 0, 0), factor) for factor in (2.0, 3.0, 4.0)]
    for picks in asked:
        lane.ask(workspace, picks, f"owner of {picks.factors}").result(SOON)
    assert [lane.known(workspace, picks) is None for picks in asked] == [True, False, False]
    assert lane._asked == {}
    assert lane._wanted == {}  # owners come and go; nothing is remembered of them


def loss(*rows):
    nll = torch.tensor(rows, dtype=torch.float64)
    return TokenLoss(nll, torch.ones_like(nll, dtype=torch.bool))


def test_the_share_and_its_error_by_hand():
    dense, pruned, picked = loss([1.0, 2.0], [3.0, 2.0]), loss([2.0, 3.0], [3.0, 4.0]), loss([1.5, 3.0], [3.0, 3.0])
    measured = compared(dense, pruned, picked)
    assert measured.lost.nats == pytest.approx(1.0)  # means 2 and 3
    assert measured.gain.nats == pytest.approx(-0.375)  # 2.625 − 3
    assert measured.share == pytest.approx(0.375)
    # Windows gain −0.5 and −1.0, so −0.75 ± 0.25 of two windows, per window of two tokens.
    assert measured.gain.stderr == pytest.approx(0.125)
    assert measured.share_error == pytest.approx(0.125)
    assert measured.windows == 2


def test_where_nothing_was_lost_there_is_no_share():
    same = loss([1.0, 2.0], [3.0, 2.0])
    measured = compared(same, same, loss([1.0, 2.0], [3.0, 1.0]))
    assert math.isnan(measured.share)
    assert math.isnan(measured.share_error)
    assert measured.gain.nats == -0.25


def test_short_calls_run_on_the_lanes_thread_and_hand_back(lane, workspace):
    names = {lane.run(workspace, lambda: threading.current_thread().name) for _ in range(3)}
    assert len(names) == 1
    assert names != {threading.current_thread().name}
    with pytest.raises(KeyError):
        lane.run(workspace, lambda: {}["missing"])


def test_the_header_says_where_picks_make_it_worse(workspace: Workspace):
    found = workspace.findings
    dense = replace(found.live_pruned, nll=found.live_pruned.nll - 0.5)
    worse = replace(found.live_pruned, nll=found.live_pruned.nll + 0.1 + 0.01 * found.live_dense.nll)
    lines = [header._html(workspace, 3, compared(dense, found.live_pruned, one), None) for one in (worse, dense)]
    assert "· worse than pruned" in lines[0]
    assert "· worse than pruned" not in lines[1]
    assert "100%" in lines[1]


def test_the_header_says_how_many_come_before(workspace: Workspace):
    assert [part in header._html(workspace, 3, None, None, 7) for part in ("after 7 others", "measuring…")] == [
        True
    ] * 2
    assert "after another" in header._html(workspace, 3, None, None, 1)
    assert "after" not in header._html(workspace, 3, None, None)
