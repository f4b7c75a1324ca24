"""Against its neighbours, on Compare: `asking` (what is to be compared, and its job), `chosen` (which comparison is in
view), `section` (all of it)."""
