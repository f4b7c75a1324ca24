"""The app's entry: `python -m streamlit run app/main.py`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # a bare `streamlit run` puts only this folder there

from app import frame  # noqa: E402

frame.run(ROOT)
