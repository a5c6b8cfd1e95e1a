"""Between the native engine and the event loop: events in, one task a request.

Owns: the engine's event fd, the table of requests in flight, the rule that a handler's failure
always ends in an answer. Never: HTTP decisions. Hits do not come here; when this side is slow or
overloaded, the engine sheds what it would hand over and goes on serving hits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from neuro import native
from neuro.cache import Outcome
from neuro.edge.exchange import ClientExchange, ClientGone
from neuro.errors import EngineError

if TYPE_CHECKING:
    from neuro.http.fields import Fields
    from neuro.native import Engine, Event

_log = logging.getLogger("neuro.edge")

POLL_COUNT_MAX = 256
"""Events taken in one turn of the loop; the event fd stays readable when more wait."""

Handler = Callable[[ClientExchange], Awaitable[None]]


class EngineBridge:
    """Runs `handler` for each request of the engine. One bridge owns one engine."""

    def __init__(self, engine: Engine, handler: Handler, *, error_fields: Fields) -> None:
        self._engine = engine
        self._handler = handler
        self._error_fields = error_fields
        self._request_type = native.RequestEvent
        self._body_type = native.BodyEvent
        self._closed_type = native.ClosedEvent
        self._exchanges: dict[int, ClientExchange] = {}
        self._emptied: asyncio.Future[None] | None = None
        self._is_reading = False
        self.failures = 0  # handlers that ended with an unexpected exception

    @property
    def in_flight(self) -> int:
        """Requests handed over and not yet over."""
        return len(self._exchanges)

    def start(self) -> None:
        """Starts the engine's threads and listens to its events."""
        asyncio.get_running_loop().add_reader(self._engine.event_fd, self._on_events)
        self._is_reading = True
        self._engine.start()

    async def drain(self, deadline_s: float) -> bool:
        """Takes no new connections and waits for requests in flight; whether all ended in time."""
        self._engine.drain()
        if not self._exchanges:
            return True
        self._emptied = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(deadline_s):
                await self._emptied
        except TimeoutError:
            return False
        finally:
            self._emptied = None
        return True

    async def stop(self) -> None:
        """Ends the engine and every handler now. Idempotent."""
        if not self._is_reading:
            return
        self._is_reading = False
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._engine.event_fd)
        tasks = [entry.task for entry in self._exchanges.values() if entry.task is not None]
        for exchange in self._exchanges.values():
            exchange.on_closed(is_complete=False)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        self._exchanges.clear()
        await loop.run_in_executor(None, self._engine.stop)

    # ------------------------------------------------------------- events

    def _on_events(self) -> None:
        try:
            events = self._engine.poll(POLL_COUNT_MAX)
        except EngineError:
            _log.exception("the engine gives no events any more")
            asyncio.get_running_loop().remove_reader(self._engine.event_fd)
            return
        for event in events:
            self._dispatch(event)

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, self._request_type):
            self._begin(ClientExchange(self._engine, event))
            return
        exchange = self._exchanges.get(event.request)
        if exchange is None:
            return
        if isinstance(event, self._body_type):
            exchange.on_body(event.data, event.is_last)
        elif isinstance(event, self._closed_type):
            self._end(exchange, event.is_complete)
        else:
            exchange.on_writable()

    def _begin(self, exchange: ClientExchange) -> None:
        self._exchanges[exchange.request.request] = exchange
        exchange.task = asyncio.get_running_loop().create_task(self._run(exchange))

    def _end(self, exchange: ClientExchange, is_complete: bool) -> None:
        del self._exchanges[exchange.request.request]
        was_answered = exchange.is_answered
        exchange.on_closed(is_complete)
        if not was_answered and exchange.task is not None:
            exchange.task.cancel()
        if not self._exchanges and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    # ------------------------------------------------------------ handler

    async def _run(self, exchange: ClientExchange) -> None:
        try:
            await self._handler(exchange)
            if not exchange.is_answered:
                raise RuntimeError("the handler ended without an answer")
        except ClientGone:
            pass
        except asyncio.CancelledError:
            if not exchange.is_gone:
                self._give_up(exchange)
        except Exception:  # noqa: BLE001  (whatever it was, the client gets an answer)
            self.failures += 1
            _log.exception(
                "request failed",
                extra={"method": exchange.request.method, "target": exchange.request.target},
            )
            self._give_up(exchange)

    def _give_up(self, exchange: ClientExchange) -> None:
        """Ends a request whose handler failed: 500 while nothing has been said, else a cut."""
        try:
            if exchange.is_started:
                exchange.abort()
            else:
                exchange.answer_bytes(
                    500,
                    self._error_fields,
                    b"NeuroCache failed on this request; see its log\n",
                    outcome=Outcome.ERROR,
                    close=True,
                )
        except ClientGone:
            pass
        except Exception:  # noqa: BLE001  (nothing is left to try)
            _log.exception("request could not be ended")
