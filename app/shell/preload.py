"""What the browser is given while the server still imports torch: its own script, which decides about light and dark,
and what draws charts, so that the map is there a third of a second sooner. Nothing heavy is imported here."""

from pathlib import Path

import streamlit as st

STATIC = Path(st.__file__).parent / "static"
# Its name has a hash that changes with Streamlit's version; where there is none of this name, nothing is fetched early.
CHARTS = [path.relative_to(STATIC).as_posix() for path in STATIC.glob("static/js/PlotlyChart.*.js")]
STUDIO = Path(__file__).with_name("studio.js").read_text()


def start() -> None:
    """Hand it over, once a browser: the same element again does nothing."""
    imports = "".join(f'import("./{script}");' for script in CHARTS)
    with st.container(key="early"):
        st.html(f"<script>{STUDIO}{imports}</script>", unsafe_allow_javascript=True)
