"""What visitors take away as one file, beyond what a page holds in memory: made on disk, sent in pieces, gone after a
while. No screen in here.

Who knows the name of a file may have it: it is drawn at random, and told to whoever asked for it alone.
"""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
import threading
import time
import zipfile
from collections import OrderedDict
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from restorelcc.artifacts.export import adapter_fits, check_checkpoint, save_checkpoint
from restorelcc.artifacts.runs import ADAPTER, Run
from restorelcc.errors import SettingError
from restorelcc.progress import Progress
from restorelcc.storage.folders import check_room
from restorelcc.workspace import Workspace

from . import allowed
from .jobs import Job, jobs

MOST = 3  # files at once; the oldest goes first
HOURS = 24  # after which a file that is left goes
_lock = threading.Lock()
_there: OrderedDict[str, Download] = OrderedDict()


@dataclass(frozen=True)
class Download:
    """A file that waits to be fetched."""

    file: Path
    name: str
    """That it is saved by."""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.file.stat().st_size


def waiting(key: str) -> Download | None:
    """The file of this name, as long as it is there."""
    with _lock:
        found = _there.get(key)
    return found if found is not None and found.file.is_file() else None


def checkpoint(workspace: Workspace, run: Run, owner: str) -> Job:
    """Queue the job that makes the restored model one file; its result is the name to fetch it by. Raises SettingError
    where this server writes no checkpoints."""
    if not allowed.may_export():
        raise SettingError("This server writes no checkpoints to its disk. Export the adapter, which is downloaded.")
    allowed.check_disk()

    def work(job: Job) -> Generator[Progress, None, str]:
        pair, adapter = (yield from workspace.loading()), run.adapter()
        adapter_fits(adapter, pair.pruned)
        folder = place()
        with tempfile.TemporaryDirectory(dir=folder) as draft:
            out = Path(draft) / run.folder.name
            size = check_checkpoint(out, pair, adapter.compensation.kind)
            check_room((folder, 2 * size))  # as files, and as one
            yield Progress("writing", 0, 2)
            save_checkpoint(out, pair.pruned, pair.tokenizer, adapter.compensation, about=run.config)
            yield Progress("packing", 1, 2)
            return (yield from packed(out, f"{run.folder.name}-checkpoint.zip"))

    title, device = f"Packing {run.name}", workspace.recipe.loading.resolved_device()
    return jobs.submit(title, owner, device, work, key=("download", workspace.recipe, run.folder))


def adapter(run: Run, owner: str) -> Job:
    """Queue the job that makes a large adapter one file, as `checkpoint` does."""
    allowed.check_disk()

    def work(job: Job) -> Generator[Progress, None, str]:
        yield Progress("packing", 0, 1)
        return (yield from packed(run.folder / ADAPTER, f"{run.folder.name}.zip"))

    return jobs.submit(f"Packing {run.name}", owner, "cpu", work, key=("download", run.folder), beside="packing")


def packed(folder: Path, name: str) -> Generator[Progress, None, str]:
    """A folder as one archive that waits; the name to fetch it by. Not compressed: weights do not shrink."""
    key = secrets.token_urlsafe(24)
    file = place() / f"{key}.zip"
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    try:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for done, path in enumerate(files):
                yield Progress("packing", done, len(files))
                archive.write(path, Path(name).stem / path.relative_to(folder))
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    with _lock:
        _there[key] = Download(file, name)
        gone = [_there.popitem(last=False)[1] for _ in range(len(_there) - MOST)]
    for download in gone:
        download.file.unlink(missing_ok=True)
    return key


def place() -> Path:
    """The folder for them, without what another server, or this one, left there long ago."""
    folder = user_cache_path("restorelcc") / "downloads"
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if time.time() - path.lstat().st_mtime > HOURS * 3600:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    return folder


def named(key: str) -> Download | None:
    """What is asked for by a name from outside."""
    return waiting(key) if re.fullmatch(r"[\w-]{32}", key) else None
