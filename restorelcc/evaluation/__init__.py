"""How good a model is on a text: perplexity with its standard error, what training minimises, a forward pass begun in
the middle, and the pruned model with outputs of the dense one patched in; how many questions it answers right.

comparison: compare, Comparison, distance, Distance, learns_the_text, measured, nearer, Share, side_by_side, Within
ending: ended, Ending, left
losses: cross_entropy, distillation
patching: all_heads, everything, Patch, patched
perplexity: at_once, Difference, logits_of, losses, measure, paired_difference, Perplexity, perplexity, recovered_share,
    token_loss, TokenLoss
prefix: Prefix
speed: Load, Speeds, Spread, timed, with_kernels
tasks: Accuracy, answered, asked_for, METRICS, prepared, Questions, questions, questions_in, TaskResult, TASKS
"""
