"""A page of its own for `test_drawn_letters.py`: every text of `tests/markup.py`, escaped, in every kind of element."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

import plotly.graph_objects as go
import streamlit as st
from markup import NASTY

from app.values.verbatim import in_figure, in_html, in_markdown, in_message, visible

for number, text in enumerate(NASTY):
    source = in_markdown(text)
    with st.container(key=f"text-{number}"):
        st.markdown(source)
        st.markdown(f"**{source}**")
        st.markdown(f"#### {source}")
        st.markdown(f"with $x$, :smile: and {source}")
        st.markdown(f"<code>{source}</code>", unsafe_allow_html=True)
        st.caption(source)
        st.error(in_message(text))
        st.info(source)
        st.progress(0.5, text=source)
        st.button(source, key=f"button-{number}")
        st.pills("pills", [source], key=f"pills-{number}", label_visibility="collapsed")
        st.expander(source)
        st.html(f"<p>{in_html(text)}</p>")
        st.selectbox("box", [visible(text)], key=f"box-{number}", label_visibility="collapsed")

places = list(range(len(NASTY)))
names = [in_figure(text) for text in NASTY]
for key in ("legend", "figure"):  # apart, since a long legend lies on the points
    figure = go.Figure()
    figure.update_layout(height=24 * len(NASTY) + 60, margin={"l": 400}, showlegend=key == "legend")
    for place, name in zip(places, names, strict=True):
        figure.add_scatter(x=[0], y=[place], name=name, mode="markers", hovertemplate="%{fullData.name}<extra></extra>")
        figure.add_annotation(x=1, y=place, text=name, showarrow=False, xanchor="left")
    figure.update_xaxes(range=[-1, 9])
    figure.update_yaxes(tickvals=places, ticktext=names, range=[len(NASTY), -1])
    st.plotly_chart(figure, key=key)
