"""Plain values that pages share: the pages themselves, picks, names, recipes as text, words and colours. No Streamlit.

colours: colours, Colours, DARK, LIGHT
names: cleaned, LONGEST, names_written
pages: Page, PAGES
passages: LONGEST, Passage, SOURCES
permits: FLAGS, give, given, Permits, START
picks: Head, Picks, WHOLE
recipes: recipe_in_a_word, recipe_of_a_word, recipe_read
rules: CLOSED, give, given, OPEN, parted, PROCESSES, Rules
run_facts: differing, known, NAMES, number, pair_names, plain, recipe_of, setting, table, written
words: count, head_name, HELP, model_name, percent, short_name, signed, text_name
"""
