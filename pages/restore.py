"""restore."""

import streamlit as st

st.markdown("restore")
