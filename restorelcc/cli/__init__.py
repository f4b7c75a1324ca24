"""`python -m restorelcc`: what can be asked for (options; a file each for comparing, evaluating and reporting; shared,
what commands have in common; choices, values that are rows of tables), and how it is done and told (a file a command
in commands/, imported when it runs).

options: app
"""
