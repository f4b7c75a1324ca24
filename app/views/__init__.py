"""What each page draws, a folder or file a page.

compare: runs, text
components: effect, one_head, strategies
heads: bounds, overview
learn: repair, steps
restore: exports, form, result, sweep
"""
