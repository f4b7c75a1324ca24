"""Putting it back: training what is put back, of any kind, which may be left and taken up again; injecting means layer
after layer, bounds of what can come back, sweeps over settings, and what else repairs a pruned model (baselines).

baselines: compared, Failure, Method, METHODS, methods_table, Outcome, Task, trainings
bounds: bounds, CONSTANTS, DENSE, HEADS, MLPS, PRUNED
choices: KEEPS, LOSSES, POSITIONS, PRECISIONS, STARTS, UNITS, WAYS, WHAT, WHERE
constants: trained_parameters
injection: capture_in_order
parameters: Held, training_bytes, training_seconds
settings: DEFAULTS, MOST_STEPS, Preset, PRESETS, presets_table, PUBLISHED, Settings
state: begun, given, resume, State, step_of, written
sweep: best_first, enough, Enough, Failure, Grid, judged_point, or_failure, Point, share_of, some_of, sweep,
    SweepResult, to_pandas, training_of
training: directions, prepared, Restoration, Step, Stepped, Training
weights: counted, zeros
"""
