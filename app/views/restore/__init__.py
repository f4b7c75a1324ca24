"""The Restore page: what is trained and how, the result, taking it away, and sweeps."""
