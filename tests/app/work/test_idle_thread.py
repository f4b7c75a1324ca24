"""A thread that ends when there is nothing to do."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.work.idle_thread import BriefThread

SOON = 10  # seconds


def test_calls_come_one_after_the_other_on_one_thread():
    thread, seen, busy = BriefThread("brief"), [], threading.Lock()

    def call(number):
        assert busy.acquire(blocking=False)
        seen.append(number)
        busy.release()
        return number, threading.current_thread().name

    with ThreadPoolExecutor(4) as many:
        futures = list(many.map(lambda number: thread.submit(call, number), range(40)))
    assert [future.result(SOON) for future in futures] == [(number, "brief") for number in range(40)]
    assert sorted(seen) == list(range(40))


def test_it_ends_when_idle_and_begins_anew():
    thread = BriefThread("brief", idle=0.01)
    first = thread.submit(threading.current_thread).result(SOON)
    first.join(SOON)
    assert not first.is_alive()
    second = thread.submit(threading.current_thread).result(SOON)
    assert second is not first


def test_what_goes_wrong_reaches_who_waits_and_nobody_else():
    thread = BriefThread("brief")

    def fail():
        raise ValueError("no")

    wrong, right = thread.submit(fail), thread.submit(int, "7")
    with pytest.raises(ValueError, match="no"):
        wrong.result(SOON)
    assert right.result(SOON) == 7


def test_none_is_lost_where_it_is_about_to_end():
    thread = BriefThread("brief", idle=0.0005)
    for number in range(300):
        assert thread.submit(lambda number=number: number).result(SOON) == number
        threading.Event().wait(0.0004 + 0.000001 * number)
