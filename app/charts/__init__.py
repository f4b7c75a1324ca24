"""Results as Plotly figures: numbers go in, a figure comes out. No Streamlit. A file a page; the Restore page has two.

closer/: figures of closer looks
common: BELOW, base, faint, LINES, palette, points, SYMBOLS, ticks
head_map: head_map, head_maps, shades; the map is also drawn by other pages than Heads
heads: agreement, attention, Axis, head_scatter, histogram, profile, ranked, ranking
kept: drawn_once
neighbours/: figures of methods against each other
sentences: of_map, of_two
pair, components, training, sweep, compare, learn: figures of the page
"""
