"""learn."""

import streamlit as st

st.markdown("learn")
