"""Questions with several answers, asked of several models at once: which are known by name (known), those of one's own
(rows), asking them through lm-eval (harness), and what came out of it (results)."""
