"""How fast models compute, beside each other in one process: how it is timed (timing), and by kernels that skip half of
the weights where a GPU has them (kernels)."""
