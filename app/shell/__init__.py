"""What surrounds every page: the frame with navigation and header, who may talk to the server, the entry of a rerun,
files that are sent.

doorkeeper: Doorkeeper
files: ROUTES
"""
