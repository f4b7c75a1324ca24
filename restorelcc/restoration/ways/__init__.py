"""How what is trained goes through a model: solved for, a matrix at a time, from what it reads."""
