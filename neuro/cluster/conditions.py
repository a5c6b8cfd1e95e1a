"""Clients that wait until something is so: a change in force, a new leader.

Owns the tests and their futures. Never polls: whoever may have changed something calls
`check`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from neuro.errors import NeuroCacheError


@dataclass(slots=True)
class _Condition:
    test: Callable[[], bool]
    future: asyncio.Future[None]
    needs_leadership: bool


class Conditions:
    """What the clients of one member wait for."""

    def __init__(self) -> None:
        self._waiting: list[_Condition] = []

    def add(self, test: Callable[[], bool], *, needs_leadership: bool) -> asyncio.Future[None]:
        """A future that is done once `test` holds.

        Args:
            needs_leadership: in vain once this member leads no more.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Condition(test, future, needs_leadership))
        return future

    def check(self) -> None:
        """Lets those go whose test holds now."""
        if not self._waiting:
            return
        waiting = []
        for condition in self._waiting:
            if condition.future.done():
                continue
            if condition.test():
                condition.future.set_result(None)
            else:
                waiting.append(condition)
        self._waiting = waiting

    def lose_leadership(self, error: NeuroCacheError) -> None:
        """Tells those that wait in vain from now on."""
        for condition in self._waiting:
            if condition.needs_leadership and not condition.future.done():
                condition.future.set_exception(error)

    def fail_all(self, error: NeuroCacheError) -> None:
        """The member ends."""
        for condition in self._waiting:
            if not condition.future.done():
                condition.future.set_exception(error)
        self._waiting.clear()
