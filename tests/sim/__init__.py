"""Deterministic simulator of a Raft group: one seed, one event queue, one history.

    python -m tests.sim --seed 1 --count 100     # runs a hundred seeds
    python -m tests.sim --seed 7 --trace         # repeats one and prints what happened

It runs the very core that serves (`neuro.raft`), on a simulated network, disk and clock.

Storage fault model
-------------------
What a node wrote and did not sync may be lost on a crash, or survive up to any record: a
torn tail. What it synced survives a crash, but not a wipe (an exchanged disk). A wiped
member never comes back under its id. A failed fsync ends the node, and what it wrote may
or may not be there. Disks may be slow or hang. A wipe is only done while a quorum of the
others holds everything that was committed, because no protocol survives losing a quorum.

Clock fault model
-----------------
Clocks are monotonic. They drift within 5 %, so leases (which allow for 20 %) must hold.
Jumps and freezes are done only in runs without leases.
"""
