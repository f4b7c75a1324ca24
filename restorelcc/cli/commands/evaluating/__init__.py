"""What `evaluate` measures of a model: on a text, or by questions (tasks); states, the models beside it."""
