"""Results as Plotly figures: numbers go in, a figure comes out. No Streamlit. A file a page; the Restore page has two.

common: BELOW, base, faint, LINES, palette, SYMBOLS, ticks
heads: attention, head_map, histogram, profile, ranked, ranking; the map is also drawn by other pages
pair, components, training, sweep, compare, learn: figures of the page
"""
