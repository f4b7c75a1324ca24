"""The Learn page: the method in six steps, facts that take longer to measure, and the words beside them."""
