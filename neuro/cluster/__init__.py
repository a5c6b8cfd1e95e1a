"""The I/O shell of `neuro.raft`: disk, network, state machine and the driver between them.

Owns everything about consensus that touches the world. Never decides anything the core
decides. It exists so that the rules can be tested without a disk and the disk without rules.
"""
