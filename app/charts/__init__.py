"""Results as Plotly figures. No Streamlit: figures go in, figures come out.

common: faint
compare: plain, recipe_of
"""
