"""What a restoration that was asked for is made of, for whatever trains it, checks it or repeats it."""
