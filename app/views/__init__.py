"""What each page draws: a folder a page, a file an idea. A page in `pages/` puts these in their places.

Another page is its folder here, its file in `pages/`, and its row in `values/pages.py`.
"""
