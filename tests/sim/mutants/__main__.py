"""`python -m tests.sim.mutants`: how many seeds each planted bug survives."""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import importlib.util
import os
import statistics
import sys
import types
from collections.abc import Sequence
from pathlib import Path

from tests.sim.mutants.catalogue import MUTANTS, Edit, Mutant


class _Planter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the modules a mutant names from edited source."""

    def __init__(self, edits: Sequence[Edit]) -> None:
        self._edits = edits

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: types.ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        if not any(edit.module == fullname for edit in self._edits):
            return None
        found = importlib.machinery.PathFinder.find_spec(fullname, path)
        assert found is not None and found.origin is not None
        return importlib.util.spec_from_file_location(fullname, found.origin, loader=self)

    def exec_module(self, module: types.ModuleType) -> None:
        assert module.__file__ is not None
        source = Path(module.__file__).read_text(encoding="utf-8")
        for edit in self._edits:
            if edit.module == module.__name__:
                source = plant(source, edit)
        exec(compile(source, module.__file__, "exec"), module.__dict__)


def plant(source: str, edit: Edit) -> str:
    """The source with the bug in it.

    Raises:
        ValueError: the text to replace is not there exactly once.
    """
    if source.count(edit.old) != 1:
        raise ValueError(f"{edit.module}: {source.count(edit.old)} times {edit.old!r}")
    return source.replace(edit.old, edit.new)


def hunt(mutant: Mutant, seeds_max: int, first_seed: int = 1) -> tuple[int, str]:
    """Runs seeds with the bug planted, in this process.

    Returns:
        How many seeds it took (0: not caught) and the invariant that caught it.
    """
    for name in [*sys.modules]:
        if name.startswith(("neuro.raft", "tests.sim.")) and ".mutants" not in name:
            del sys.modules[name]
    sys.meta_path.insert(0, _Planter(mutant.edits))
    from tests.sim.simulation import Simulation

    for count in range(1, seeds_max + 1):
        report = Simulation(first_seed + count - 1).run()
        if report.violation:
            return count, report.violation
    return 0, "not caught"


def hunt_apart(mutant: Mutant, seeds_max: int, first_seed: int = 1) -> tuple[int, str]:
    """As `hunt`, in a child, because a planted bug can not be taken back."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            count, name = hunt(mutant, seeds_max, first_seed)
        except BaseException as error:
            count, name = -1, repr(error)
        os.write(writer, f"{count}\n{name}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        count_text, _, name = answer.read().partition("\n")
    os.waitpid(child, 0)
    return int(count_text or -1), name


def main() -> int:
    """Prints the table; 1 when a mutant survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.mutants")
    parser.add_argument("lines", nargs="*", type=int, help="lines of the list; all by default")
    parser.add_argument("--seeds", type=int, default=300, help="seeds before giving up")
    parser.add_argument("--first-seed", type=int, default=1)
    arguments = parser.parse_args()
    counts = []
    survivors = 0
    print("| line | planted bug | seeds | caught by |\n|---|---|---|---|", flush=True)
    for mutant in MUTANTS:
        if arguments.lines and mutant.line not in arguments.lines:
            continue
        count, name = hunt_apart(mutant, arguments.seeds, arguments.first_seed)
        if count <= 0:
            survivors += 1
        else:
            counts.append(count)
        print(f"| {mutant.line} | {mutant.name} | {count} | {name} |", flush=True)
    if counts:
        print(
            f"\n{len(counts)} caught, {survivors} not;"
            f" median {statistics.median(counts):g} seeds, worst {max(counts)}"
        )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
