"""What is written to disk: adapters, checkpoints, model cards, runs, comparisons of methods, and what is known of a
pair.

card: evaluating, name_of, usage, without_places
export: Adapter, adapter_fits, check_checkpoint, difference, load_adapter, load_restored, made_for, save_checkpoint,
    trained_on
experiments: both_errors, discard_experiment, Experiment, experiment, experiment_table, experiments_folder,
    given_experiment, keep_experiment, list_experiments, new_file, SHARES, shipped_experiments, title_of
export_formats: FORMATS
findings: Findings, is_kept, keep_findings, kept_findings, LIVE_TOKENS, LIVE_WINDOW, NUMBERS, Recipe,
    recipe_read, recipe_written, Size
provenance: code_digest
publishing: check_push, push
run_config: KNOWN
runs: ADAPTER, annotate_run, bring_back, CONFIG, discard_run, empty_trash, keep_measured, list_runs, load_run,
    LONGEST_NAME, rename_run, Run, run_bytes, runs_folder, save_run, step_rows
sweep_runs: JUDGED_BY, keep_point, point_name, sweep_tag
unfinished: find_unfinished, kept, Keeper, list_unfinished, PAIR, pair_facts, Unfinished
"""
