"""What is put back into a pruned model: applied, folded into a checkpoint, kept on disk.

The only wing that knows what a compensation is made of; all others go through its interface.

constants: Constants, injected, mean_lost
interface: attach, Change, Compensation, compensated, folded, in_one
kinds: KINDS, read_compensation
recompute: recomputed, recomputing
weights: survivors, Weights
"""
