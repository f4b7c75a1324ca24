"""Taking a restoration away: an adapter as a download, a checkpoint written to a folder; and where to go next."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Generator
from pathlib import Path

import streamlit as st

from restorelcc.artifacts.card import evaluating, usage
from restorelcc.artifacts.export import adapter_fits, save_checkpoint
from restorelcc.artifacts.export_formats import FORMATS
from restorelcc.artifacts.runs import ADAPTER, Run
from restorelcc.errors import RestoreLCCError
from restorelcc.progress import Progress
from restorelcc.storage.folders import check_free
from restorelcc.workspace import Workspace

from ...session import state
from ...values.pages import PAGES
from ...values.verbatim import in_markdown
from ...values.words import count
from ...widgets import feedback
from ...work import allowed, downloads
from ...work.jobs import Job, State, jobs

LARGE = 64_000_000
"""Bytes beyond which an adapter is made one file on disk: what a page offers is in memory."""
BYTES = {"bfloat16": 2, "float16": 2}
"""Of a number, by the precision that a pair was opened in."""


def zipped(folder: Path) -> bytes:
    """A folder as a zip archive, in memory: adapters are small. Of one that is gone by now, a line that says so."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        try:
            for path in sorted(folder.rglob("*")):
                if path.is_file():  # a pipe would never end
                    archive.write(path, Path(folder.parent.name) / path.relative_to(folder))
            gone = "" if archive.namelist() else "it is gone"
        except OSError as error:
            gone = error.strerror or str(error)
        if gone:
            archive.writestr("NOT WHOLE.txt", f"The adapter of {folder.parent.name} could not be read: {gone}.\n")
    return buffer.getvalue()


def adapter_button(run: Run, key: str) -> None:
    """The button that downloads the adapter: a few small files that load onto the pruned model."""
    folder = run.folder / ADAPTER
    there, size = folder.is_dir(), _bytes(folder)
    if size > LARGE:
        _packing("Export adapter", f"adapter-{key}", size, lambda owner: downloads.adapter(run, owner))
        return
    st.download_button(
        "Export adapter",
        data=lambda: zipped(folder),
        file_name=f"{run.folder.name}.zip",
        mime="application/zip",
        key=f"adapter-{key}",
        icon=":material/download:",
        on_click="ignore",
        disabled=not there,
        help=f"{FORMATS['adapter'].definition} One file of {_sized(size)}."
        if there
        else "The folder of this run's adapter is gone.",
    )


def checkpoint(workspace: Workspace, run: Run, key: str) -> None:
    """The restored model as an ordinary checkpoint: as one file to download, or in a folder on the server."""
    if not allowed.may_export():
        st.button(
            "Export checkpoint",
            key=f"checkpoint-{key}",
            icon=":material/save:",
            disabled=True,
            help="This server writes no checkpoints to its disk.",
        )
        return
    with st.popover("Export checkpoint", icon=":material/save:", key=f"checkpoint-{key}"):
        st.markdown(FORMATS["checkpoint"].definition)
        size = workspace.findings.pruned_size.parameters * BYTES.get(workspace.recipe.loading.dtype, 4)
        _packing("Make one file", f"pack-{key}", size, lambda owner: downloads.checkpoint(workspace, run, owner))
        st.divider()
        folder = st.text_input("New folder, on the machine that runs this app", key=f"folder-{key}")
        st.button(
            "Write it",
            key=f"write-{key}",
            type="primary",
            disabled=not folder.strip(),
            on_click=lambda: _write(workspace, run, folder.strip(), key),
        )
    refused = st.session_state.pop(f"export-refused-{key}", "")
    if refused:
        feedback.refused(refused)
    job = jobs.get(st.session_state.get(f"export-{key}", ""))
    if job is not None:
        feedback.progress(job)
        if job.state == State.DONE:
            st.success(f"Written to {in_markdown(str(job.result))}", icon=":material/check:")


def _packing(label: str, key: str, size: int, begin: Callable[[str], Job]) -> None:
    """The button that makes one file of something large, how far that is, and the link to the file once it is there."""
    job = jobs.get(st.session_state.get(key, ""))
    there = downloads.waiting(job.result) if job is not None and job.state == State.DONE else None
    if job is not None and there is not None:
        st.link_button(
            f"Download {there.name} ({_sized(there.size)})", f"download/{job.result}", icon=":material/download:"
        )
        return
    st.button(
        label,
        key=f"begin-{key}",
        icon=":material/folder_zip:",
        disabled=job is not None and not job.finished,
        help=f"About {_sized(size)}, made on the server first, and kept there for a day.",
        on_click=_begin,
        args=(key, begin),
    )
    refused = st.session_state.pop(f"{key}-refused", "")
    if refused:
        feedback.refused(refused)
    if job is not None:
        feedback.progress(job, key)


def _begin(key: str, begin: Callable[[str], Job]) -> None:
    try:
        st.session_state[key] = begin(state.session().owner).id
    except RestoreLCCError as error:
        st.session_state[f"{key}-refused"] = str(error)


def _bytes(folder: Path) -> int:
    """That a folder takes; 0 for one that is gone."""
    try:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    except OSError:
        return 0


def _sized(size: int) -> str:
    """Bytes, for people."""
    return f"{count(size)}B" if size >= 1e3 else f"{size} B"


def how_to_use(run: Run, key: str) -> None:
    """The lines that use what was taken away, and those that measure it to the figures of this run."""
    with st.popover("Use it", icon=":material/terminal:", key=f"use-{key}"):
        st.caption(
            "THIS FOLDER is where the file was unpacked, PRUNED the pruned model. The card beside them says it too."
        )
        for name in ("adapter", "checkpoint"):
            st.markdown(f"**{FORMATS[name].title}**")
            st.code(usage(name, run.config), language="python", wrap_lines=True)
            if lines := evaluating(name, run.config):
                st.code("\n".join(lines), language="sh", wrap_lines=True)
        if run.config.get("asked") or "recipe" in run.config:
            st.markdown("**The same training again**, on the machine that keeps it")
            st.code(f"python -m restorelcc repeat {run.folder.name}", language="sh", wrap_lines=True)
        if not evaluating("adapter", run.config):
            st.caption("How to come to the figures of this run again is not recorded with it.")


def _write(workspace: Workspace, run: Run, name: str, key: str) -> None:
    try:
        folder = allowed.export_to(name)
        check_free(folder)
    except RestoreLCCError as error:
        st.session_state[f"export-refused-{key}"] = str(error)
        return

    def work(job: Job) -> Generator[Progress, None, Path]:
        pair, adapter = (yield from workspace.loading()), run.adapter()
        adapter_fits(adapter, pair.pruned)
        yield Progress("writing", 1, 2)
        save_checkpoint(folder, pair.pruned, pair.tokenizer, adapter.compensation, about=run.config)
        return folder.absolute()

    device = workspace.recipe.loading.resolved_device()
    job = jobs.submit(
        f"Exporting {run.name}", state.session().owner, device, work, key=("export", str(folder), run.folder)
    )
    st.session_state[f"export-{key}"] = job.id


def next_steps(workspace: Workspace, run: Run) -> None:
    """What can be done with a restoration that is done."""
    st.markdown("##### Next")
    with st.container(horizontal=True, vertical_alignment="center", key="next-steps"):
        adapter_button(run, "result")
        checkpoint(workspace, run, "result")
        how_to_use(run, "result")
        st.page_link(PAGES["compare"].link, label="Compare with other runs", icon=":material/table_rows:")
    st.caption(f"Kept as a run in {in_markdown(str(run.folder))}.")
