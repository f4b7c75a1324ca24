"""compare."""

import streamlit as st

st.markdown("compare")
