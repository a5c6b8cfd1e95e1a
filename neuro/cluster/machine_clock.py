"""Makes the state machine's time pass on whoever leads.

Owns the task that proposes TICKs; `machine.ticker` decides when and for how long. It exists because
leases and sessions may not expire by any member's clock alone, only by the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from neuro.cluster.machine import Ticker
from neuro.errors import NeuroCacheError

if TYPE_CHECKING:
    from neuro.clock import Clock
    from neuro.cluster.machine import KeyValueMachine, Outcome
    from neuro.cluster.replica import Replica

POLL_S: Final = 0.1
"""How exactly the ticker's intervals are kept."""

_logger = logging.getLogger(__name__)


class MachineClock:
    """One for each member; does nothing while another leads."""

    def __init__(self, replica: Replica[Outcome], machine: KeyValueMachine, clock: Clock) -> None:
        self._replica = replica
        self._machine = machine
        self._clock = clock
        self._ticker = Ticker()
        self._leads = False
        self._leave: Callable[[], None] | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins; needs a running loop."""
        status = self._replica.status()
        self._leads = status.leader.node == status.node
        self._leave = self._replica.subscribe(self)
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Ends."""
        if self._leave is not None:
            self._leave()
            self._leave = None
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def on_applied(self, _index: int) -> None:
        """The sooner the ticker sees the new time, the less of it is lost."""
        if self._leads:
            self._ticker.observe(self._machine.time_ms, self._clock.monotonic_ms())

    def on_restored(self, _index: int) -> None:
        """A member that is sent a snapshot does not lead."""
        self._ticker.stop()

    def on_leadership(self, _term: int, _leader: int, is_leader: bool) -> None:
        """Time that was measured in another term is void."""
        self._leads = is_leader
        self._ticker.stop()

    def _poll(self) -> bytes | None:
        machine = self._machine
        now_ms = self._clock.monotonic_ms()
        return self._ticker.poll(
            machine.time_ms, machine.lease_count, machine.session_count, now_ms
        )

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            payload = self._poll() if self._leads else None
            if payload is None:
                continue
            try:
                await self._replica.propose(payload, frees_space=True)
            except NeuroCacheError as error:
                # The next poll measures anew: time stands still meanwhile, nothing else is lost.
                _logger.debug("the machine's time stands still: %s", error.message)
