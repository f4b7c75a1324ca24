"""The Compare page: runs side by side, and one of them on text."""
