"""Bugs planted on purpose: each must be caught by the simulator.

    python -m tests.sim.mutants                 # the whole table
    python -m tests.sim.mutants 5 --seeds 500   # the mutants of one scenario line

A mutant replaces a piece of source text while the module is imported, in a process of its
own. The product knows nothing of it: there is no flag to forget.
"""
