"""Clients that read and write a few keys while members fail, and remember what they saw.

Owns the workload and the history; `tests.sim.linearizability` judges it.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time

from neuro.cluster.client import Client
from neuro.cluster.client_errors import ClientError, CompareFailed, KeyNotFound
from tests.sim.linearizability import Operation, find_violation

KEYS = ("a", "b", "c")
OPERATIONS_PER_KEY_MAX = 400
"""The search's cost grows with what overlaps; this is judged within a second or two."""


class History:
    """What all clients did, in nanoseconds of this process."""

    def __init__(self, seed: int) -> None:
        self.operations: list[Operation] = []
        self.unknown_count = 0
        self._values = itertools.count(1)
        self._seed = seed
        self._count = dict.fromkeys(KEYS, 0)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Lets the workers end after the call they are in."""
        self._stop.set()

    async def work(self, client: Client, number: int) -> None:
        """One client: puts, reads and compare-and-sets, one after another."""
        chance = random.Random(f"{self._seed}-{number}")
        last = dict.fromkeys(KEYS, "")
        while not self._stop.is_set():
            key = chance.choice(KEYS)
            kind = chance.choice(("read", "read", "put", "cas"))
            if self._count[key] >= OPERATIONS_PER_KEY_MAX:
                return
            self._count[key] += 1
            value = "" if kind == "read" else str(next(self._values))
            if kind == "cas" and not last[key]:
                kind = "put"
            expected = last[key] if kind == "cas" else ""
            operation = Operation(key, kind, time.monotonic_ns(), value=value, expected=expected)
            self.operations.append(operation)
            await self._perform(client, operation)
            if operation.kind == "read" and operation.result:
                last[key] = operation.result
            await asyncio.sleep(chance.uniform(0.0, 0.02))

    async def _perform(self, client: Client, operation: Operation) -> None:
        value, expected = operation.value.encode(), operation.expected.encode()
        try:
            if operation.kind == "read":
                operation.result = (await client.get(operation.key))["value"].decode()
            elif operation.kind == "put":
                await client.put(operation.key, value)
            else:
                await client.cas(operation.key, value, expected=expected)
                operation.result = "ok"
        except KeyNotFound:
            operation.result = ""
        except CompareFailed:
            operation.result = "differs"
        except ClientError as error:
            if error.is_certain and operation.kind != "read":
                self.operations.remove(operation)
            self.unknown_count += 1
            return
        operation.end = time.monotonic_ns()

    def check(self) -> None:
        """Fails with the key whose history no order explains."""
        key = find_violation(self.operations)
        told = [op for op in self.operations if op.key == key]
        assert key is None, f"seed {self._seed}: the history of `{key}` is impossible: {told}"
