"""The Heads page: all heads as a map, one head in detail, and what could come back at all."""
