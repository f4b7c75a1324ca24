"""The Restore page: what is trained and how, the training as it goes, its result and where to take it, and sweeps.

exports: adapter_button, checkpoint, next_steps
form: form, what
live: live, watched
result: kept, result
settings: what is typed into the form; KEY, fill, settings_typed
sweep: section
sweep_results: section
"""
