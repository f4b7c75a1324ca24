"""Plain values that pages share: the pages themselves, picks, names, recipes as text, words and colours. No Streamlit.

colours: colours, Colours, DARK, LIGHT
names: cleaned, LONGEST, names_written
pages: PAGES
picks: Picks, WHOLE
recipes: recipe_read, recipe_written
words: ALL_WORDS, count, head_name, HELP, METRIC_WORDS, model_name, percent, SCORE_WORDS, seconds, signed, Word
"""
