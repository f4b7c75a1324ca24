"""What surrounds every page: the frame with navigation and header, and the entry of one rerun."""
