"""The embedded models, and the whole way on them.

pair: DEFAULT, demo_dense, demo_pair
walkthrough: STATES, walk, Walked
"""
