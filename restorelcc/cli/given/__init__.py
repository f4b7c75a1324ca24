"""What a command is given, beside what is typed: a preset, a file; and what that asks of a restoration, as values."""
