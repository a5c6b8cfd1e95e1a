"""The planted bugs still fit the source, and a sample of them is caught."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.sim.mutants.__main__ import hunt_apart, plant
from tests.sim.mutants.catalogue import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.line} {mutant.name}")
def test_planted_bug_fits_the_source(mutant: Mutant) -> None:
    for edit in mutant.edits:
        spec = importlib.util.find_spec(edit.module)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin).read_text(encoding="utf-8")
        compile(plant(source, edit), edit.module, "exec")


@pytest.mark.parametrize("name", ["a leader answers reads by itself", "match index goes back"])
def test_planted_bug_is_caught(name: str) -> None:
    mutant = next(mutant for mutant in MUTANTS if mutant.name == name)
    seeds, caught_by = hunt_apart(mutant, seeds_max=20)
    assert seeds > 0, caught_by
