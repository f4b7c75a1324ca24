"""components."""

import streamlit as st

st.markdown("components")
