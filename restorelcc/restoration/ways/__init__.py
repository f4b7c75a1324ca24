"""How training goes through a model (course): through the whole network, a layer after the other (blocks), or solving
for weights, a matrix at a time, from what it reads (moments, least_squares).
"""
