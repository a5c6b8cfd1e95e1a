"""The replicated key-value store: what committed commands mean.

Owns the state behind the client API: keys with revisions, leases, client sessions, and the history
that watches read. Never reads a clock, opens a file or draws a random number: time enters as an
entry of the log, so equal logs give equal bytes of state on every member.
"""

from __future__ import annotations

from neuro.cluster.machine.commands import Command, Op, make_payload
from neuro.cluster.machine.history import Change, ChangeGroup, Record
from neuro.cluster.machine.limits import explain_key
from neuro.cluster.machine.machine import KeyValueMachine
from neuro.cluster.machine.outcome import Outcome
from neuro.cluster.machine.reading import Page
from neuro.cluster.machine.ticker import Ticker
from neuro.cluster.machine.watching import Batch, Watch

__all__ = [
    "Batch",
    "Change",
    "ChangeGroup",
    "Command",
    "KeyValueMachine",
    "Op",
    "Outcome",
    "Page",
    "Record",
    "Ticker",
    "Watch",
    "explain_key",
    "make_payload",
]
