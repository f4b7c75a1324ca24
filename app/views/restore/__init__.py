"""The Restore page: what is trained and how, the training as it goes, its result and where to take it, and sweeps.

exports: adapter_button, checkpoint, next_steps
form: section, what
live: section, watched
result: kept, section
settings: what is typed into the form; KEY, fill, settings_typed
sweep: section
sweep_results: section
"""
