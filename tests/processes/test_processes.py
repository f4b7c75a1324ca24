"""Two processes at one task come to what one comes to, and none waits for one that is gone."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from together import a_pair, computed, save
from typer.testing import CliRunner

from restorelcc.artifacts.unfinished import list_unfinished
from restorelcc.cli.commands.launch import launch
from restorelcc.cli.options import app
from restorelcc.processes import apart, by_the_first, from_all, from_each, processes, summed, turns

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("together.py")


def environment(rank: int, port: int) -> dict[str, str]:
    """Of one of two processes, as accelerate and torchrun set it."""
    launched = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    return os.environ | launched | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("shared", [[], ["shard"]], ids=["copies", "shares"])
def test_two_come_to_what_one_comes_to(tmp_path, on_one_thread, shared):
    save(tmp_path)
    port, command = free_port(), [sys.executable, str(SCRIPT), str(tmp_path), *shared]
    started = [subprocess.Popen(command, env=environment(rank, port)) for rank in (0, 1)]
    alone = computed(a_pair())
    assert [each.wait(240) for each in started] == [0, 0]
    together = torch.load(tmp_path / "found.pt")
    held = together.pop("held")
    assert bool((held < 0.6).all()) == bool(shared), held
    assert (together.pop("processes"), alone.pop("processes")) == (2, 1)
    assert together.keys() == alone.keys()
    for name, expected in alone.items():
        # Curves, in which what differs in the last digits of one step is carried into the next.
        within = 1e-3 if name.startswith(("constants", "weights")) else 1e-6
        torch.testing.assert_close(together[name], expected, rtol=within, atol=within, msg=name)


def test_what_is_trained_with_the_models_shared_out_is_exported_whole(pair_args, tmp_path, on_one_thread):
    command = ["restore", *map(str, pair_args), "--what", "weights", "--constants", "--steps", "4", "--format"]
    command += ["checkpoint", "--device"]
    assert launch(2, [*command, "shard", "--out", str(tmp_path / "shared")]) == 0
    assert CliRunner().invoke(app, [*command, "cpu", "--out", str(tmp_path / "alone")]).exit_code == 0
    theirs, ours = (load_file(tmp_path / name / "model.safetensors") for name in ("shared", "alone"))
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)
    result = CliRunner().invoke(app, [*command, "shard", "--out", str(tmp_path / "no")])
    assert result.exit_code == 2
    assert "--processes 2" in result.stderr


def test_one_alone_has_all_turns_and_waits_for_nobody():
    assert processes() == 1
    assert from_all(turns(range(5))) == [0, 1, 2, 3, 4]
    assert list(from_each("mine")) == ["mine"]
    assert summed(torch.tensor(2.0)) == 2.0
    assert by_the_first(lambda a, b: a + b)(1, b=2) == 3
    with apart():
        assert processes() == 1


def test_a_launch_hands_on_what_the_command_says_and_its_code(capfd):
    assert launch(2, ["evaluate", "nowhere/at-all"]) == 2
    said = capfd.readouterr().err
    assert said.count("Error") == 1
    assert "nowhere/at-all" in said


@pytest.mark.kills
@pytest.mark.parametrize(("victim", "device"), [(0, "cpu"), (1, "shard")])
def test_one_that_is_killed_ends_the_launch_in_one_line_and_what_was_kept_stays(victim, device, pair_args, tmp_path):
    command = [sys.executable, "-m", "restorelcc", "--processes", "2", "restore", *map(str, pair_args)]
    command += ["--device", device, "--steps", "100000", "--out", str(tmp_path / "adapter")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as launched:
        assert launched.stdout is not None
        assert launched.stderr is not None
        for line in launched.stdout:
            if line.startswith("step   20"):
                break
        children = Path(f"/proc/{launched.pid}/task/{launched.pid}/children").read_text().split()
        os.kill(int(children[victim]), signal.SIGKILL)
        began = time.monotonic()
        said = launched.stderr.read()
        assert launched.wait(90) == 2
        assert time.monotonic() - began < 80
    lines = [line for line in said.splitlines() if line.startswith("Error")]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    (interrupted,) = list_unfinished()
    assert interrupted.step >= 20
    assert not interrupted.is_under_way
