"""The planted bugs, one or more for each line of the list of failures that applies.

Owns the whole list. A line is the number of a failure in the list of 82 that happened to real
systems; lines about files, chunked transfers, watches and leases belong to the I/O shell. 0
marks rules that are this core's own.
"""

from __future__ import annotations

from tests.sim.mutants.elections import ELECTIONS
from tests.sim.mutants.members import MEMBERS
from tests.sim.mutants.mutant import Edit, Mutant
from tests.sim.mutants.storage import STORAGE

__all__ = ["MUTANTS", "Edit", "Mutant"]

MUTANTS: tuple[Mutant, ...] = (*ELECTIONS, *MEMBERS, *STORAGE)
