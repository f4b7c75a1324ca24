"""Has the browser fetch what draws charts while the server still imports torch: the map is there a third of a second
sooner. Nothing heavy is imported here."""

from pathlib import Path

import streamlit as st

STATIC = Path(st.__file__).parent / "static"
# Its name has a hash that changes with Streamlit's version; where there is none of this name, nothing is fetched early.
SCRIPTS = [path.relative_to(STATIC).as_posix() for path in STATIC.glob("static/js/PlotlyChart.*.js")]


def fetch_charts() -> None:
    """Ask for it, once a browser: the same element again does nothing."""
    imports = "".join(f'import("./{script}");' for script in SCRIPTS)
    with st.container(key="early"):
        st.html(f"<script>{imports}</script>", unsafe_allow_javascript=True)
