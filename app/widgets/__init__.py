"""Controls, messages and progress that several pages draw."""
