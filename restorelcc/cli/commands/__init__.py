"""A file a command: how it is done, and told. Imported when it runs."""
