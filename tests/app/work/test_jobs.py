"""Jobs: order, owners, cancelling, and workers that outlive what they run."""

import logging
import subprocess
import sys
import threading

import pytest
import torch

from app.work.jobs import Jobs, State
from restorelcc.errors import LoadError
from restorelcc.progress import Progress

SOON = 10  # seconds; what should happen does so in milliseconds


class Gated:
    """Work that yields, and waits between steps until it is let go."""

    def __init__(self, steps=1000):
        self.steps, self.began, self.go, self.closed = steps, threading.Event(), threading.Event(), threading.Event()

    def __call__(self, job):
        try:
            for step in range(self.steps):
                yield Progress("working", step, self.steps)
                self.began.set()
                self.go.wait(SOON)
            return "result"
        finally:
            self.closed.set()


def quick(result=None):
    def work(job):
        yield Progress("working", 1, 4)
        return result

    return work


def failing(error):
    def work(job):
        yield Progress("working", 0, 1)
        raise error

    return work


@pytest.fixture
def jobs():
    return Jobs()


@pytest.fixture
def busy(jobs):
    """A job that runs on the device 'cpu' until it is let go."""
    gate = Gated(2)
    job = jobs.submit("Busy", "somebody", "cpu", gate)
    assert gate.began.wait(SOON)
    yield job, gate
    gate.go.set()
    assert job.wait(SOON)


def test_the_result_comes_back(jobs):
    job = jobs.submit("Quick", "me", "cpu", quick(42))
    assert job.wait(SOON)
    assert (job.state, job.result, job.error) == (State.DONE, 42, "")
    assert job.progress == Progress("working", 1, 4)
    assert job.fraction == 0.25
    assert 0 <= job.seconds < SOON
    assert jobs.get(job.id) is job
    assert jobs.get("unknown") is None


def test_one_at_a_time_in_the_order_asked(jobs, busy):
    running, gate = busy
    order = []

    def note(name):
        def work(job):
            yield Progress("noting", 0, 1)
            order.append((name, [one for one in jobs.listed() if one.state == State.RUNNING] == [job]))

        return work

    queued = [jobs.submit(name, "me", "cpu", note(name)) for name in "abc"]
    assert [jobs.waiting_before(job) for job in (running, *queued)] == [0, 1, 2, 3]
    assert [job.state for job in queued] == [State.QUEUED] * 3
    assert jobs.listed() == [running, *queued]
    assert queued[0].seconds == 0
    gate.go.set()
    assert queued[-1].wait(SOON)
    assert order == [("a", True), ("b", True), ("c", True)]
    assert jobs.listed() == [*reversed(queued), running]


def test_another_device_does_not_wait(jobs, busy):
    job = jobs.submit("Elsewhere", "me", "cuda:1", quick(1))
    assert job.wait(SOON)
    assert busy[0].state == State.RUNNING


def test_only_the_owner_may_cancel(jobs, busy):
    running, _ = busy
    queued = jobs.submit("Queued", "me", "cpu", quick())
    assert not jobs.cancel(running, "me")
    assert not jobs.cancel(queued, "somebody")
    assert not running.stopping
    assert not queued.stopping
    assert queued.state == State.QUEUED


def test_cancelled_in_the_queue_it_never_runs(jobs, busy):
    _, gate = busy
    never, after = Gated(), jobs.submit("First", "me", "cpu", quick())
    job = jobs.submit("Never", "me", "cpu", never)
    last = jobs.submit("Last", "me", "cpu", quick())
    assert jobs.cancel(job, "me")
    assert job.state == State.CANCELLED
    assert [jobs.waiting_before(one) for one in (after, last)] == [1, 2]
    gate.go.set()
    assert last.wait(SOON)
    assert not never.began.is_set()
    assert job.started is None


def test_cancelled_while_running_it_is_closed(jobs):
    gate = Gated()
    job = jobs.submit("Running", "me", "cpu", gate)
    assert gate.began.wait(SOON)
    assert jobs.cancel(job, "me")
    gate.go.set()
    assert job.wait(SOON)
    assert job.state == State.CANCELLED
    assert gate.closed.is_set()
    assert job.progress.done < 3
    assert job.result is None


def test_work_that_keeps_what_it_has_ends_by_itself(jobs):
    began = threading.Event()

    def work(job):
        for step in range(10**9):
            yield Progress("training", step, 10**9)
            began.set()
            if job.stopping:
                return "best so far"

    job = jobs.submit("Restoring", "me", "cpu", work, keeps_on_cancel=True)
    assert began.wait(SOON)
    assert jobs.cancel(job, "me")
    assert job.wait(SOON)
    assert (job.state, job.result) == (State.DONE, "best so far")


def test_the_same_work_is_joined_while_it_waits_or_runs(jobs, busy):
    first = jobs.submit("Open", "me", "cpu", quick(1), key="pair")
    assert jobs.submit("Open", "you", "cpu", quick(2), key="pair") is first
    assert jobs.submit("Open", "me", "cpu", quick(3), key="another") is not first
    assert jobs.submit("Keyless", "me", "cpu", quick()) is not jobs.submit("Keyless", "me", "cpu", quick())
    busy[1].go.set()
    assert first.wait(SOON)
    again = jobs.submit("Open", "me", "cpu", quick(4), key="pair")
    assert again is not first
    assert again.wait(SOON)
    assert (first.result, again.result) == (1, 4)
    assert jobs.find("pair") is again


def test_what_is_being_stopped_is_not_joined(jobs):
    gate = Gated()
    job = jobs.submit("Open", "me", "cpu", gate, key="pair")
    assert gate.began.wait(SOON)
    jobs.cancel(job, "me")
    again = jobs.submit("Open", "me", "cpu", quick(5), key="pair")
    assert again is not job
    assert jobs.find("pair") is again  # the newest
    gate.go.set()
    assert again.wait(SOON)
    assert again.result == 5


def test_failures_say_why_and_the_worker_lives_on(jobs, caplog):
    caplog.set_level(logging.CRITICAL)
    known = jobs.submit("Known", "me", "cpu", failing(LoadError("There is no folder x. Give another.")))
    full = jobs.submit("Full", "me", "cpu", failing(torch.OutOfMemoryError("CUDA out of memory")))
    odd = jobs.submit("Odd", "me", "cpu", failing(KeyError("layer")))
    at_once = jobs.submit("At once", "me", "cpu", lambda job: 1 / 0)
    exits = jobs.submit("Exits", "me", "cpu", failing(SystemExit(1)))
    after = jobs.submit("After", "me", "cpu", quick("fine"))
    assert after.wait(SOON)
    assert after.result == "fine"
    assert {job.state for job in (known, full, odd, at_once, exits)} == {State.FAILED}
    assert known.error == "There is no folder x. Give another."
    assert "memory of cpu is full" in full.error
    assert "KeyError: 'layer'" in odd.error
    assert "ZeroDivisionError" in at_once.error
    assert "SystemExit" in exits.error


def test_an_error_while_closing_is_a_failure(jobs, caplog):
    caplog.set_level(logging.CRITICAL)
    gate = Gated()

    def work(job):
        try:
            yield from gate(job)
        finally:
            raise LoadError("could not clean up")

    job = jobs.submit("Running", "me", "cpu", work)
    assert gate.began.wait(SOON)
    jobs.cancel(job, "me")
    gate.go.set()
    assert job.wait(SOON)
    assert (job.state, job.error) == (State.FAILED, "could not clean up")


def test_history_is_bounded():
    jobs = Jobs(history=3)
    done = [jobs.submit(str(index), "me", "cpu", quick()) for index in range(6)]
    assert done[-1].wait(SOON)
    assert jobs.listed() == done[:2:-1]
    assert jobs.get(done[0].id) is None
    assert jobs.get(done[4].id) is done[4]


def test_a_finished_job_lets_go_of_what_its_work_held(jobs):
    work = quick()
    job = jobs.submit("Quick", "me", "cpu", work)
    assert job.wait(SOON)
    assert jobs.listed() == [job]  # takes the lock, so the worker is through
    assert job.work is not work


def test_waiting_has_a_limit(busy):
    assert not busy[0].wait(0.02)


@pytest.mark.parametrize("cancelled", [False, True])
def test_who_waits_is_woken_when_it_is_over_and_looks_no_more_often(jobs, busy, monkeypatch, cancelled):
    """Also where it is cancelled before it began."""
    monkeypatch.setattr("app.work.jobs.time.sleep", lambda _: pytest.fail("somebody looks again and again"))
    job = jobs.submit("Waited for", "me", "cpu", quick())
    woken = []
    threads = [threading.Thread(target=lambda: woken.append(job.wait())) for _ in range(3)]
    for thread in threads:
        thread.start()
    if cancelled:
        jobs.cancel(job, "me")
    else:
        busy[1].go.set()
    for thread in threads:
        thread.join(SOON)
    assert woken == [True] * 3
    assert job.state == (State.CANCELLED if cancelled else State.DONE)
    assert jobs.get(job.id) is job


def test_work_beside_a_devices_queue_waits_for_its_own_kind_alone(jobs, busy):
    gate = Gated(2)
    first = jobs.submit("First", "me", "cpu", gate, beside="loading")
    assert gate.began.wait(SOON)
    second = jobs.submit("Second", "me", "cpu", quick(2), beside="loading")
    assert [jobs.waiting_before(job) for job in (first, second)] == [0, 1]
    assert (second.device, second.state) == ("cpu", State.QUEUED)
    assert jobs.cancel(second, "me")
    gate.go.set()
    assert first.wait(SOON)
    assert [job.state for job in (busy[0], first, second)] == [State.RUNNING, State.DONE, State.CANCELLED]


def test_no_screen_is_needed():
    """Nor for what else runs in the background; in a process of its own, as tests of pages import Streamlit."""
    rooms = "app.values.picks, app.work.jobs, app.work.live, app.work.open_pairs"
    code = f"import {rooms}, sys; sys.exit('streamlit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_worker_ends_with_its_work_and_another_begins_with_the_next():
    here = Jobs()
    for _ in range(2):
        names = []

        def work(job, names=names):
            names.append(threading.current_thread())
            yield Progress("working", 1, 1)

        assert here.submit("short", "me", "cpu", work).wait(SOON)
        names[0].join(SOON)
        assert not names[0].is_alive()
