"""RestoreLCC Studio's engine: what pruning took from every attention head, and how to put it back."""

__version__ = "0.1.0"
