"""What a planted bug is.

Owns the type; the bugs themselves lie in `elections`, `members` and `storage`. `line` is the number of the failure in the list of 82 that happened to real
systems; lines about files, chunked transfers, watches and leases belong to the I/O shell.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """One replacement; `old` occurs exactly once in the module."""

    module: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A planted bug."""

    line: int
    name: str
    edits: tuple[Edit, ...]


def plant_core(line: int, name: str, module: str, old: str, new: str) -> Mutant:
    """A bug in one module of the core."""
    return Mutant(line, name, (Edit(f"neuro.raft.{module}", old, new),))


def plant_shell(line: int, name: str, module: str, old: str, new: str) -> Mutant:
    """A bug in the simulated shell, client side or state machine."""
    return Mutant(line, name, (Edit(f"tests.sim.{module}", old, new),))
