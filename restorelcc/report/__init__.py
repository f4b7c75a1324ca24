"""A report that opens anywhere: a pair, runs, as one HTML file or a folder for a static web server.

Figures are what Plotly's JavaScript reads, written as JSON; nothing of it is imported, and nothing is fetched.

build: of_pair, of_runs
page: Page
site: write_site
"""
