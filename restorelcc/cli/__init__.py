"""`python -m restorelcc`: what can be asked for (options), and how it is done and told (the rest).

options: app
"""
