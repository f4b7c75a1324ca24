"""What is done with a file of options alone: it is checked, or the run that it is of is repeated."""
