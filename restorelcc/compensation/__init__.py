"""What is put back into a pruned model. The only wing that knows what a compensation is made of: applying, folding,
saving.

constants: attach, compensated, Compensation, folded, injected, merged, own_heads
"""
