"""What the whole suite shares: tests that need another program say so with a marker.

Owns: `@pytest.mark.needs("nginx")`. Never: fixtures of one area, those lie beside its tests.
"""

from __future__ import annotations

import os

import pytest

from tests.programs import find_program


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test whose program is missing; the gate forbids such skips."""
    for marker in item.iter_markers("needs"):
        for program in marker.args:
            if find_program(program) is not None:
                continue
            text = f"`{program}` is missing, so this is not tested"
            if os.environ.get("NEUROCACHE_REQUIRE_ALL") == "1":
                pytest.fail(text, pytrace=False)
            pytest.skip(text)
