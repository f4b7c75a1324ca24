"""What screens share: state, cache, jobs, controls, charts, feedback."""
