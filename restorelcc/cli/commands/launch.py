"""Several processes of one command on this machine: as `accelerate launch` starts them, and in one line where one ends
before its time."""

import os
import socket
import subprocess  # of ourselves  # nosec B404
import sys
import time
from collections.abc import Sequence
from signal import Signals

WAIT = 60.0
"""Seconds in which the first process notices that another is gone: when it next waits for it."""


def launch(count: int, arguments: Sequence[str]) -> int:
    """Run a command by so many processes, and wait for it; its exit code. The first says what comes of it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    if "OMP_NUM_THREADS" not in os.environ:  # Each with threads for every core, they would wait for each other.
        shared["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // count))
    command = [sys.executable, "-m", "restorelcc", *arguments]
    own = [os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]
    started = [subprocess.Popen(command, env=each) for each in own]  # what was typed here, no shell  # nosec B603
    try:
        _wait(started)
    except KeyboardInterrupt:  # They got it too: the first keeps what there is, and the others follow it.
        _wait(started)
    finally:
        for each in started:
            each.kill()
    codes = [each.wait() for each in started]
    if codes[0] >= 0 and not (codes[0] == 0 and any(codes)):
        return codes[0]
    rank = next(rank for rank, code in enumerate(codes) if code)
    how = f"by {Signals(-codes[rank]).name}" if codes[rank] < 0 else f"with exit code {codes[rank]}"
    sys.stderr.write(
        f"Error: process {rank + 1} of {count} ended {how}, and the others with it. What was kept until then stays: "
        "`python -m restorelcc runs` lists it.\n"
    )
    return 2


def _wait(started: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Until all have ended, or one has and the first, which waits for it, had time to notice."""
    gone: float | None = None
    while started[0].poll() is None:
        if gone is None and any(each.poll() for each in started):
            gone = time.monotonic()
        if gone is not None and time.monotonic() - gone > WAIT:
            return
        time.sleep(0.05)
    for each in started[1:]:
        try:
            each.wait(WAIT if started[0].returncode == 0 else 1)
        except subprocess.TimeoutExpired:
            return
