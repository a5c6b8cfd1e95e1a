"""One node as a running process: the only place where the parts are put together.

Owns order of start and stop, signals, and what the parts are given. Never decides about HTTP or
storage.
"""
