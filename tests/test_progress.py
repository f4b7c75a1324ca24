"""What many may ask for is made once: whoever asks first makes it, the others wait and see how far it is."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from restorelcc.errors import LoadError
from restorelcc.progress import Once, Progress, Standing, duration, finish

SOON = 10  # seconds; what should happen does so in milliseconds


class Work:
    """Says that it began, waits until it is let go, and gives a new object, or fails as often as it is told to."""

    def __init__(self, failures=0):
        self.failures, self.times = failures, 0
        self.began, self.go = threading.Event(), threading.Event()

    def __call__(self):
        self.times += 1
        yield Progress("loading", self.times, 2)
        self.began.set()
        assert self.go.wait(SOON)
        if self.times <= self.failures:
            raise LoadError(f"attempt {self.times} failed")
        return object()


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as many:
        yield many


def waiting(once):
    """Somebody who waits for another's attempt: they have seen how far it is."""
    steps = once.made()
    step = next(steps)
    return steps, step


def test_it_is_made_once_for_all_who_ask_at_once(work, pool):
    once, barrier = Once(work), threading.Barrier(8)
    assert (once.standing, once.value) == (Standing.ABSENT, None)
    assert work.times == 0

    def ask():
        barrier.wait(SOON)
        return finish(once.made())

    asked = [pool.submit(ask) for _ in range(8)]
    assert work.began.wait(SOON)
    assert (once.standing, once.value) == (Standing.MAKING, None)
    work.go.set()
    results = {future.result(SOON) for future in asked}
    assert results == {once.value}
    assert work.times == 1
    assert once.standing == Standing.READY
    assert list(once.made()) == []  # at once, without a step


def test_who_waits_sees_how_far_it_is(work, pool):
    once = Once(work)
    maker = pool.submit(finish, once.made())
    assert work.began.wait(SOON)
    steps, step = waiting(once)
    assert step == Progress("loading", 1, 2)
    work.go.set()
    assert finish(steps) is maker.result(SOON)


def test_a_failure_reaches_all_who_wait_and_the_next_who_asks_tries_again(pool):
    work = Work(failures=1)
    once = Once(work)
    maker = pool.submit(finish, once.made())
    assert work.began.wait(SOON)
    steps, _ = waiting(once)
    work.go.set()
    with pytest.raises(LoadError, match="attempt 1 failed"):
        finish(steps)
    with pytest.raises(LoadError, match="attempt 1 failed"):
        maker.result(SOON)
    assert (once.standing, str(once.error), once.value) == (Standing.FAILED, "attempt 1 failed", None)
    assert finish(once.made()) is once.value
    assert (once.standing, once.error, work.times) == (Standing.READY, None, 2)


@pytest.mark.parametrize("thrown_away", [False, True])
def test_where_it_is_given_up_one_who_waits_goes_on_in_its_place(work, pool, thrown_away):
    once = Once(work)
    maker = once.made()
    next(maker)
    steps, _ = waiting(once)
    rest = pool.submit(finish, steps)
    if thrown_away:
        del maker
        gc.collect()
    else:
        maker.close()
    assert work.began.wait(SOON)  # the first attempt never came so far
    work.go.set()
    assert rest.result(SOON) is once.value
    assert (work.times, once.error) == (2, None)


def test_given_up_while_nobody_waits_it_is_absent_again(work):
    once = Once(work)
    maker = once.made()
    next(maker)
    assert once.standing == Standing.MAKING
    maker.close()
    assert once.standing == Standing.ABSENT


def test_waiting_can_be_stopped_without_stopping_the_work(work, pool):
    once = Once(work)
    maker = pool.submit(finish, once.made())
    assert work.began.wait(SOON)
    steps, _ = waiting(once)
    next(steps)  # comes though the work stands still
    steps.close()
    work.go.set()
    assert maker.result(SOON) is once.value


def test_what_is_at_hand_is_not_made(work):
    once = Once(work, value="at hand")
    assert (once.standing, once.value, finish(once.made())) == (Standing.READY, "at hand", "at hand")
    assert work.times == 0


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (89, "89 s"), (90, "1 min 30 s"), (185.4, "3 min 05 s"), (3_599.6, "1 h 00 min"),
     (343 * 60 + 43, "5 h 44 min"), (47.99 * 3_600, "47 h 59 min"), (51 * 3_600, "2 d 03 h")],
)  # fmt: skip
def test_a_duration_is_told_to_two_units(seconds, said):
    assert duration(seconds) == said
