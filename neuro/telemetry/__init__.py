"""What a node tells about itself: logs, metrics, the access log.

Owns formats and names. Never decides anything from what it sees, and never blocks the event loop:
log lines are written by a thread, counters are read where they are kept when somebody asks.
"""
