"""Asking the origin, and what becomes of its answer.

Owns: one fetch from the plan to the decision about the response, fetches that others wait for, and
background revalidation. Never: answering clients, which is site.py's part.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from neuro.cache import (
    Freshen,
    OriginResponse,
    Role,
    Serve,
    StorePlan,
    StreamOnly,
    Write,
    plan_response,
)
from neuro.edge.fill import FillRun
from neuro.edge.passing import discard
from neuro.errors import ObjectTooLarge, SlabFull, UpstreamError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from neuro.cache import (
        CacheRequest,
        Fetch,
        ResponsePlan,
        Revalidate,
        SharedCachePolicy,
        StoredResponse,
    )
    from neuro.clock import Clock
    from neuro.edge.background import Background
    from neuro.edge.flights import Flights
    from neuro.edge.forward import Forwarder
    from neuro.edge.settings import EdgeLimits
    from neuro.edge.shelf import Found, Shelf
    from neuro.edge.upstream import UpstreamResponse
    from neuro.edge.upstream_pool import OriginPool
    from neuro.http.fields import FieldLine, Fields
    from neuro.native import RequestEvent

_ALONE: Final = 0  # in place of a leader's number: no exchange has it


@dataclass(frozen=True, slots=True)
class Filling:
    """The response is being stored; `run` has not been started yet."""

    run: FillRun
    fields: Fields
    status: int


@dataclass(frozen=True, slots=True)
class Streaming:
    """The response goes to one client only."""

    response: UpstreamResponse
    fields: Fields
    reason: str


@dataclass(frozen=True, slots=True)
class Freshened:
    """The stored response holds, with new fields."""

    stored: StoredResponse
    status: int


@dataclass(frozen=True, slots=True)
class Fallback:
    """A stale answer instead of the origin's error."""

    serve: Serve


@dataclass(frozen=True, slots=True)
class Failed:
    """The origin gave no answer."""

    error: UpstreamError


FetchResult = Filling | Streaming | Freshened | Fallback | Failed


class OriginFetcher:
    """Fetches for one site."""

    def __init__(
        self,
        *,
        pool: OriginPool,
        forwarder: Forwarder,
        policy: SharedCachePolicy,
        shelf: Shelf,
        flights: Flights,
        background: Background,
        limits: EdgeLimits,
        clock: Clock,
        notify_fill: Callable[[int], None],
    ) -> None:
        self._pool = pool
        self._forwarder = forwarder
        self._policy = policy
        self._shelf = shelf
        self._flights = flights
        self._background = background
        self._limits = limits
        self._clock = clock
        self._notify_fill = notify_fill
        self._refresh_count = 0
        self._refreshing = 0

    def refresh(
        self, facts: RequestEvent, request: CacheRequest, plan: Revalidate, found: Found
    ) -> None:
        """One revalidation in the background for all who get the stale answer meanwhile."""
        if self._refreshing >= self._limits.background_max:
            return
        self._refresh_count += 1
        number = -self._refresh_count
        role = self._flights.join(request.key, number)
        if role is Role.LEADER:
            task = self.spawn_lead(facts, request, plan, found, number, None)
            self._refreshing += 1
            task.add_done_callback(self._end_refresh)
        elif role is Role.FOLLOWER:
            self._flights.leave(request.key, number)

    def spawn_lead(
        self,
        facts: RequestEvent,
        request: CacheRequest,
        plan: Fetch | Revalidate,
        found: Found | None,
        leader: int,
        inform: Callable[[int, list[FieldLine]], None] | None,
    ) -> asyncio.Task[FetchResult]:
        """A fetch in a task of its own, whose end is told to those who wait for it.

        What must happen at its end hangs on the task, not in it: a task may be cancelled before
        its first step.
        """
        if found is not None:
            found.hold()

        def end(task: asyncio.Task[FetchResult]) -> None:
            result = None if task.cancelled() or task.exception() else task.result()
            if isinstance(result, Failed):
                self._flights.fail(request.key, leader, result.error)
            self._flights.release(request.key, leader)  # no effect after a landing
            if found is not None:
                found.release()

        task = self._background.spawn(self.fetch(facts, request, plan, found, inform, leader))
        task.add_done_callback(end)
        return task

    async def fetch(
        self,
        facts: RequestEvent,
        request: CacheRequest,
        plan: Fetch | Revalidate,
        found: Found | None,
        inform: Callable[[int, list[FieldLine]], None] | None,
        leader: int = _ALONE,
    ) -> FetchResult:
        """Asks the origin and carries out what neuro.cache decides about its answer."""
        upstream = self._forwarder.request(facts, plan.method, plan.fields)
        upstream.on_informational = inform
        sent_s = self._clock.wall_s()
        try:
            response = await self._pool.fetch(upstream)
        except UpstreamError as error:
            return Failed(error)
        try:
            head = response.head
            now_s = self._clock.wall_s()
            fields = self._forwarder.response_fields(head, now_s)
            length = 0 if head.status in (204, 304) else head.content_length
            after = plan_response(
                request,
                OriginResponse(head.status, fields, length),
                plan,
                sent_s,
                now_s,
                self._policy,
                marker=None if found is None else found.marker,
                nonce=secrets.randbits(62),
            )
            return await self._carry_out(after, request, response, fields, found, leader)
        except BaseException:
            response.close()
            raise

    async def _carry_out(
        self,
        plan: ResponsePlan,
        request: CacheRequest,
        response: UpstreamResponse,
        fields: Fields,
        found: Found | None,
        leader: int,
    ) -> FetchResult:
        status = response.head.status
        if isinstance(plan, StorePlan):
            begun = self._begin_fill(request, response, plan, found)
            if isinstance(begun, FillRun):
                if plan.may_share:
                    self._flights.forget_uncacheable(request.key)
                    self._flights.share(request.key, leader)
                return Filling(begun, fields, status)
            plan = begun
        if isinstance(plan, Freshen):
            await discard(response)
            await self._freshen(request, plan, found, leader)
            return Freshened(plan.stored, status)
        if isinstance(plan, Serve):
            await discard(response)
            failure = UpstreamError(f"origin answered {status}", origin=self._pool.settings.url)
            self._flights.fail(request.key, leader, failure)
            return Fallback(plan)
        self._shelf.delete(plan.delete)
        if leader != _ALONE:
            self._flights.release(request.key, leader, is_uncacheable=plan.is_uncacheable)
        elif plan.is_uncacheable:
            self._flights.remember_uncacheable(request.key)
        return Streaming(response, fields.without(b"content-length"), plan.reason)

    async def _freshen(
        self, request: CacheRequest, plan: Freshen, found: Found | None, leader: int
    ) -> None:
        if found is not None and found.pinned is not None:
            stored = plan.stored
            if plan.write is Write.TIMES:
                found.pinned.refresh(
                    stored.born_s,
                    stored.expires_s,
                    stored.stale_while_revalidate_s,
                    stored.stale_if_error_s,
                )
            elif plan.write is Write.FIELDS:
                await self._shelf.rewrite(found, stored)
        self._shelf.delete(plan.delete)
        if plan.may_share:
            self._flights.share(request.key, leader)

    def _begin_fill(
        self,
        request: CacheRequest,
        response: UpstreamResponse,
        plan: StorePlan,
        found: Found | None,
    ) -> FillRun | StreamOnly:
        """A fill for the response; without room for it the response is streamed only."""
        if self._shelf.fill_count >= self._limits.fills_max:
            return StreamOnly("fills-max")
        self._shelf.delete(plan.delete)
        try:
            fill = self._shelf.begin(plan)
        except SlabFull:
            return StreamOnly("slab-full")
        except ObjectTooLarge:
            return StreamOnly("too-large", is_uncacheable=True)
        self._shelf.fill_count += 1

        def end(run: FillRun, is_stored: bool) -> None:
            self._shelf.fill_count -= 1
            self._shelf.remove_run(request.key, run)
            if is_stored and plan.marker is not None:
                self._shelf.store_marker(plan.marker)

        run = FillRun(
            response,
            fill,
            plan.as_stored(),
            marker=None if found is None else found.marker,
            is_shared=plan.may_share,
            notify=self._notify_fill,
            on_end=end,
            on_overflow=lambda: self._flights.remember_uncacheable(request.key),
        )
        self._shelf.add_run(request.key, run)
        return run

    def start_run(self, run: FillRun) -> None:
        """Starts a fill that `fetch` gave; exactly once."""
        self._background.spawn(run.run()).add_done_callback(run.end)

    def _end_refresh(self, task: asyncio.Task[FetchResult]) -> None:
        self._refreshing -= 1
        self.settle(task)

    def settle(self, fetching: asyncio.Task[FetchResult]) -> None:
        """Ends what a fetch began whose client has left."""
        if fetching.cancelled() or fetching.exception() is not None:
            return
        result = fetching.result()
        if isinstance(result, Filling):
            self.start_run(result.run)
        elif isinstance(result, Streaming):
            result.response.close()
