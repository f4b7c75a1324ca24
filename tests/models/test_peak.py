"""How much memory something takes is told of each anew."""

import torch

from restorelcc.models.memory import Peak, let_go


def test_what_was_freed_before_is_counted_where_it_is_used_again():
    """In parts too small for the allocator to give back by itself."""
    found = []
    for _ in range(3):
        let_go()
        with Peak() as peak:
            parts = [torch.ones(2_000) for _ in range(10_000)]
            del parts
        found.append(peak.bytes)
    assert all(size > 6e7 for size in found), found
