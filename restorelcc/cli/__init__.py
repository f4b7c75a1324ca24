"""`python -m restorelcc`: what can be asked for (options, judging; what commands have in common in shared, values that
are rows of tables in choices), and how it is done and told (a file a command in commands/, imported when it runs).

options: app
"""
