"""A checkpoint as one file: what is in it, who gets it, and where it is not made."""

import io
import zipfile

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient
from transformers import AutoModelForCausalLM

from app.shell.files import ROUTES
from app.values import rules
from app.work import downloads
from restorelcc.artifacts.export import save_adapter
from restorelcc.artifacts.runs import Run
from restorelcc.compensation.constants import injected
from restorelcc.errors import SettingError
from restorelcc.workspace import Workspace


@pytest.fixture
def run(workspace: Workspace, tmp_path) -> Run:
    pair, lost = workspace.pair(), workspace.lost
    back = injected(lost, lost.energy > 0)
    save_adapter(tmp_path / "mine" / "adapter", back, pair.geometry, {"dense": "demo"}, pair.pruned)
    return Run(tmp_path / "mine", {"name": "mine", "dense": "demo"})


def packed(job) -> str:
    assert job.wait(60)
    assert job.error == ""
    return str(job.result)


def test_a_checkpoint_is_one_file_that_stock_transformers_loads(workspace, run, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "user_cache_path", lambda _: tmp_path / "cache")
    key = packed(downloads.checkpoint(workspace, run, "me"))
    there = downloads.named(key)
    assert there is not None
    client = TestClient(Starlette(routes=ROUTES))
    found = client.get(f"/download/{key}")
    assert found.headers["content-length"] == str(there.size)
    assert 'filename="mine-checkpoint.zip"' in found.headers["content-disposition"]
    zipfile.ZipFile(io.BytesIO(found.content)).extractall(tmp_path / "out")
    AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "mine-checkpoint")
    for wrong in ("nothing", key[:-1] + "?", "../" + key, "x" * 32):
        assert client.get(f"/download/{wrong}").status_code == 404
    assert [path.suffix for path in (tmp_path / "cache" / "downloads").iterdir()] == [".zip"]
    there.file.unlink()
    assert client.get(f"/download/{key}").status_code == 404


def test_the_oldest_file_makes_room(run, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "user_cache_path", lambda _: tmp_path / "cache")
    keys = [packed(downloads.adapter(run, "me")) for _ in range(downloads.MOST + 1)]
    assert downloads.waiting(keys[0]) is None
    assert all(downloads.waiting(key) for key in keys[1:])
    assert len(list((tmp_path / "cache" / "downloads").iterdir())) == downloads.MOST


def test_a_server_that_writes_no_checkpoints_packs_none(workspace, run, monkeypatch):
    monkeypatch.setattr(rules, "_given", rules.CLOSED)
    with pytest.raises(SettingError, match="writes no checkpoints"):
        downloads.checkpoint(workspace, run, "me")
