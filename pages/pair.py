"""pair."""

import streamlit as st

st.markdown("pair")
