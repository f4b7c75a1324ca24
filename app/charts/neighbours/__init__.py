"""Figures of methods against each other. `shares`: against_cost; `both_shares`: bars, SHARES"""
