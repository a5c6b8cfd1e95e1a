"""Keys in order, in runs of bounded length.

Owns one thing: the order of the keys that exist. Never holds values. A plain sorted list moves all
later keys for each insertion, which is milliseconds at a million keys; here it is one short run.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from typing import Final

from neuro.checks import check

RUN_LENGTH_MAX: Final = 1_024


class OrderedKeys:
    """A sorted set of text. Order is by code point, which is the order of the UTF-8 bytes."""

    __slots__ = ("_count", "_lasts", "_runs")

    def __init__(self, keys: Iterable[str] = ()) -> None:
        """Takes keys in any order, once each."""
        ordered = sorted(keys)
        half = RUN_LENGTH_MAX // 2
        self._runs = [ordered[i : i + half] for i in range(0, len(ordered), half)]
        self._lasts = [run[-1] for run in self._runs]
        self._count = len(ordered)

    def __len__(self) -> int:
        return self._count

    def add(self, key: str) -> None:
        """Adds a key that is not there yet."""
        self._count += 1
        if not self._runs:
            self._runs.append([key])
            self._lasts.append(key)
            return
        at = min(bisect_left(self._lasts, key), len(self._runs) - 1)
        run = self._runs[at]
        insort(run, key)
        self._lasts[at] = run[-1]
        if len(run) > RUN_LENGTH_MAX:
            half = len(run) // 2
            self._runs[at : at + 1] = [run[:half], run[half:]]
            self._lasts[at : at + 1] = [run[half - 1], run[-1]]

    def remove(self, key: str) -> None:
        """Removes a key that is there."""
        at = bisect_left(self._lasts, key)
        check(at < len(self._runs), "the key is there")
        run = self._runs[at]
        place = bisect_left(run, key)
        check(place < len(run) and run[place] == key, "the key is there")
        del run[place]
        self._count -= 1
        if run:
            self._lasts[at] = run[-1]
        else:
            del self._runs[at], self._lasts[at]

    def iterate_from(self, first: str) -> Iterator[str]:
        """Keys at or after `first`, in order; nothing may change meanwhile."""
        at = bisect_left(self._lasts, first)
        if at == len(self._runs):
            return
        run = self._runs[at]
        yield from run[bisect_left(run, first) :]
        for run in self._runs[at + 1 :]:
            yield from run

    def iterate_prefix(self, prefix: str, after: str = "") -> Iterator[str]:
        """Keys that begin with `prefix` and come after `after`, in order."""
        for key in self.iterate_from(max(prefix, after)):
            if not key.startswith(prefix):
                return
            if key > after:
                yield key
