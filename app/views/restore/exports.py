"""Taking a restoration away: an adapter as a download, a checkpoint written to a folder; and where to go next."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Generator
from pathlib import Path

import streamlit as st

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
from ...widgets import feedback
from ...work import allowed
from ...work.jobs import Job, State, jobs


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
    there = (run.folder / ADAPTER).is_dir()
    st.download_button(
        "Export adapter",
        data=lambda: zipped(run.folder / ADAPTER),
        file_name=f"{run.folder.name}.zip",
        mime="application/zip",
        key=f"adapter-{key}",
        icon=":material/download:",
        on_click="ignore",
        disabled=not there,
        help=FORMATS["adapter"].definition if there else "The folder of this run's adapter is gone.",
    )


def checkpoint(workspace: Workspace, run: Run, key: str) -> None:
    """The form that writes the restored model as an ordinary checkpoint into a folder on the server."""
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
        st.page_link(PAGES["compare"].link, label="Compare with other runs", icon=":material/table_rows:")
    st.caption(f"Kept as a run in {in_markdown(str(run.folder))}.")
