"""The life of a request to a site: carries out the plans of neuro.cache with sockets and the slab.

Owns: the order look up, plan, fetch, answer; joining others; background revalidation. Never: a
caching rule. Every path ends in exactly one answer, or in an exception that the bridge turns into
one.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from neuro.cache import (
    CacheRequest,
    Fetch,
    Freshen,
    OriginResponse,
    Outcome,
    PassThrough,
    Refuse,
    Revalidate,
    Role,
    Serve,
    StorePlan,
    StreamOnly,
    Verdict,
    Write,
    build_first_reply,
    build_reply,
    on_origin_failure,
    plan_request,
    plan_response,
)
from neuro.edge.answers import answer_failure, answer_text
from neuro.edge.fill import FillRun
from neuro.edge.passing import discard, pass_response
from neuro.edge.replies import answer_reply
from neuro.errors import ObjectTooLarge, SlabFull, UpstreamError, UpstreamTimeout
from neuro.http.cache_status import CacheStatus
from neuro.http.fields import Fields
from neuro.http.hop_by_hop import remove_hop_by_hop

if TYPE_CHECKING:
    from collections.abc import Callable

    from neuro.cache import SharedCachePolicy, StoredResponse
    from neuro.clock import Clock
    from neuro.edge.background import Background
    from neuro.edge.exchange import ClientExchange
    from neuro.edge.flights import Flights
    from neuro.edge.forward import Forwarder
    from neuro.edge.settings import EdgeLimits
    from neuro.edge.shelf import Found, Shelf
    from neuro.edge.upstream import UpstreamResponse
    from neuro.edge.upstream_pool import OriginPool
    from neuro.http.fields import FieldLine
    from neuro.native import RequestEvent

_log = logging.getLogger("neuro.edge")

ROUNDS_MAX: Final = 3
"""How often a request may wait for others' answers (variants differ) before it fetches alone."""

_RESTING: Final = 0  # no exchange has this number

Inform = "Callable[[int, list[FieldLine]], None]"


@dataclass(frozen=True, slots=True)
class _Filling:
    """The response is being stored; `run` has not been started yet."""

    run: FillRun
    fields: Fields
    status: int


@dataclass(frozen=True, slots=True)
class _Streaming:
    """The response goes to one client only."""

    response: UpstreamResponse
    fields: Fields
    reason: str


@dataclass(frozen=True, slots=True)
class _Freshened:
    """The stored response holds, with new fields."""

    stored: StoredResponse
    status: int


@dataclass(frozen=True, slots=True)
class _Fallback:
    """A stale answer instead of the origin's error."""

    serve: Serve


@dataclass(frozen=True, slots=True)
class _Failed:
    """The origin gave no answer."""

    error: UpstreamError


_Result = _Filling | _Streaming | _Freshened | _Fallback | _Failed


class SiteHandler:
    """Answers the requests of one site."""

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

    async def handle(self, exchange: ClientExchange) -> None:
        """Answers one request."""
        facts = exchange.request
        request = CacheRequest(facts.method, facts.key, exchange.fields, facts.has_body)
        for round_index in range(ROUNDS_MAX):
            found = self._shelf.find(request)
            try:
                is_last = round_index == ROUNDS_MAX - 1
                if await self._handle_round(exchange, request, found, round_index > 0, is_last):
                    return
            finally:
                if found is not None:
                    found.release()

    async def _handle_round(
        self,
        exchange: ClientExchange,
        request: CacheRequest,
        found: Found | None,
        is_collapsed: bool,
        is_last: bool,
    ) -> bool:
        """One look at what is stored; False: look again, another request has changed it."""
        now_s = self._clock.wall_s()
        plan = plan_request(
            request,
            None if found is None else found.stored,
            now_s,
            self._policy,
            is_uncacheable=self._flights.is_uncacheable(request.key),
        )
        if isinstance(plan, Serve):
            self._serve(exchange, request, plan, found, is_collapsed)
        elif isinstance(plan, Refuse):
            answer_text(
                exchange,
                plan.status,
                f"NeuroCache does not answer this request: {plan.reason}",
                now_s=now_s,
                cache_status=CacheStatus(detail=plan.reason.encode("ascii")),
            )
        elif isinstance(plan, PassThrough):
            await self._pass(exchange, request, plan)
        else:
            role = Role.ALONE
            if plan.may_collapse and not is_last:
                role = self._flights.join(request.key, exchange.request.request)
            if role is Role.FOLLOWER:
                landing = await self._flights.wait(request.key, exchange.request.request)
                if landing.failure is not None:
                    self._answer_failed(exchange, request, found, landing.failure)
                    return True
                if landing.verdict is Verdict.USE:
                    return False
                role = Role.ALONE
            await self._fetch_and_answer(exchange, request, plan, found, role)
        return True

    # ----------------------------------------------------------- answering

    def _serve(
        self,
        exchange: ClientExchange,
        request: CacheRequest,
        plan: Serve,
        found: Found | None,
        is_collapsed: bool,
    ) -> None:
        handle = 0 if found is None else found.handle
        if is_collapsed:
            status = CacheStatus(forward=b"uri-miss", is_collapsed=True)
            reply = build_reply(request, plan.stored, self._clock.wall_s(), status)
            answer_reply(exchange, reply, handle, outcome=Outcome.COLLAPSED)
        else:
            answer_reply(exchange, plan.reply, handle, outcome=plan.outcome)
        if plan.refresh is not None and found is not None:
            self._refresh(exchange.request, request, plan.refresh, found)

    async def _fetch_and_answer(
        self,
        exchange: ClientExchange,
        request: CacheRequest,
        plan: Fetch | Revalidate,
        found: Found | None,
        role: Role,
    ) -> None:
        def inform(status: int, lines: list[FieldLine]) -> None:
            exchange.inform(status, remove_hop_by_hop(Fields(lines)))

        facts = exchange.request
        if role is Role.LEADER:
            fetching = self._spawn_lead(facts, request, plan, found, facts.request, inform)
            try:
                result = await asyncio.shield(fetching)
            except asyncio.CancelledError:
                fetching.add_done_callback(self._settle)  # the client left, the fetch goes on
                raise
        else:
            result = await self._fetch(facts, request, plan, found, inform)
        await self._answer(exchange, request, plan, found, result)

    async def _answer(
        self,
        exchange: ClientExchange,
        request: CacheRequest,
        plan: Fetch | Revalidate,
        found: Found | None,
        result: _Result,
    ) -> None:
        now_s = self._clock.wall_s()
        if isinstance(result, _Filling):
            await self._answer_filling(exchange, request, plan, result)
        elif isinstance(result, _Streaming):
            status = CacheStatus(
                forward=plan.forward,
                forward_status=result.response.head.status,
                detail=result.reason.encode("ascii"),
            )
            fields = result.fields.append(b"Cache-Status", status.to_bytes())
            await pass_response(exchange, result.response, fields, outcome=Outcome.MISS)
        elif isinstance(result, _Freshened):
            status = CacheStatus(forward=plan.forward, forward_status=result.status, is_stored=True)
            reply = build_reply(request, result.stored, now_s, status)
            handle = 0 if found is None else found.handle
            answer_reply(exchange, reply, handle, outcome=Outcome.REVALIDATED)
        elif isinstance(result, _Fallback):
            handle = 0 if found is None else found.handle
            answer_reply(exchange, result.serve.reply, handle, outcome=result.serve.outcome)
        else:
            self._answer_failed(exchange, request, found, result.error)

    async def _answer_filling(
        self,
        exchange: ClientExchange,
        request: CacheRequest,
        plan: Fetch | Revalidate,
        result: _Filling,
    ) -> None:
        run = result.run
        status = CacheStatus(forward=plan.forward, forward_status=result.status, is_stored=True)
        now_s = self._clock.wall_s()
        reply = build_first_reply(request, result.fields, run.stored, now_s, status)
        done: asyncio.Future[None] | None = None
        try:
            if reply.length is None and reply.status not in (204, 304):
                exchange.start(reply.status, reply.fields, length=None, outcome=Outcome.MISS)
                done = run.lead(exchange)
            else:
                answer_reply(exchange, reply, run.handle, outcome=Outcome.MISS)
        finally:
            self._spawn_run(run)
        if done is not None:
            await asyncio.shield(done)

    def _answer_failed(
        self,
        exchange: ClientExchange,
        request: CacheRequest,
        found: Found | None,
        error: UpstreamError,
    ) -> None:
        now_s = self._clock.wall_s()
        fallback = on_origin_failure(
            request,
            None if found is None else found.stored,
            now_s,
            self._policy,
            is_timeout=isinstance(error, UpstreamTimeout),
        )
        if isinstance(fallback, Serve) and found is not None:
            answer_reply(exchange, fallback.reply, found.handle, outcome=fallback.outcome)
        else:
            answer_failure(exchange, error, now_s=now_s)

    async def _pass(
        self, exchange: ClientExchange, request: CacheRequest, plan: PassThrough
    ) -> None:
        facts = exchange.request
        body = exchange.read_body() if facts.has_body else None
        upstream = self._forwarder.request(facts, plan.method, plan.fields, body)
        upstream.on_informational = lambda status, lines: exchange.inform(
            status, remove_hop_by_hop(Fields(lines))
        )
        sent_s = self._clock.wall_s()
        try:
            response = await self._pool.fetch(upstream)
        except UpstreamError as error:
            answer_failure(exchange, error, now_s=self._clock.wall_s())
            return
        now_s = self._clock.wall_s()
        fields = self._forwarder.response_fields(response.head, now_s)
        after = plan_response(
            request,
            OriginResponse(response.head.status, fields, None),
            plan,
            sent_s,
            now_s,
            self._policy,
        )
        if isinstance(after, StreamOnly):
            self._shelf.delete(after.delete)
        status = CacheStatus(
            forward=plan.forward,
            forward_status=response.head.status,
            detail=plan.reason.encode("ascii") if plan.reason != "method" else None,
        )
        fields = fields.without(b"content-length").append(b"Cache-Status", status.to_bytes())
        await pass_response(exchange, response, fields, outcome=Outcome.BYPASS)

    # ------------------------------------------------------------ fetching

    def _refresh(
        self, facts: RequestEvent, request: CacheRequest, plan: Revalidate, found: Found
    ) -> None:
        """One revalidation in the background for all who get the stale answer meanwhile."""
        if self._background.count >= self._limits.background_max:
            return
        self._refresh_count += 1
        number = -self._refresh_count
        role = self._flights.join(request.key, number)
        if role is Role.LEADER:
            task = self._spawn_lead(facts, request, plan, found, number, None)
            task.add_done_callback(self._settle)
        elif role is Role.FOLLOWER:
            self._flights.leave(request.key, number)

    def _spawn_lead(
        self,
        facts: RequestEvent,
        request: CacheRequest,
        plan: Fetch | Revalidate,
        found: Found | None,
        leader: int,
        inform: Callable[[int, list[FieldLine]], None] | None,
    ) -> asyncio.Task[_Result]:
        """A fetch in a task of its own, whose end is told to those who wait for it.

        What must happen at its end hangs on the task, not in it: a task may be cancelled before
        its first step.
        """
        if found is not None:
            found.hold()

        def end(task: asyncio.Task[_Result]) -> None:
            result = None if task.cancelled() or task.exception() else task.result()
            if isinstance(result, _Failed):
                self._flights.fail(request.key, leader, result.error)
            self._flights.release(request.key, leader)  # no effect after a landing
            if found is not None:
                found.release()

        task = self._background.spawn(self._fetch(facts, request, plan, found, inform, leader))
        task.add_done_callback(end)
        return task

    async def _fetch(
        self,
        facts: RequestEvent,
        request: CacheRequest,
        plan: Fetch | Revalidate,
        found: Found | None,
        inform: Callable[[int, list[FieldLine]], None] | None,
        leader: int = _RESTING,
    ) -> _Result:
        upstream = self._forwarder.request(facts, plan.method, plan.fields)
        upstream.on_informational = inform
        sent_s = self._clock.wall_s()
        try:
            response = await self._pool.fetch(upstream)
        except UpstreamError as error:
            return _Failed(error)
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
        if isinstance(after, StorePlan):
            run = self._begin_fill(request, response, after, found)
            if run is not None:
                if after.may_share:
                    self._flights.forget_uncacheable(request.key)
                    self._flights.share(request.key, leader)
                return _Filling(run, fields, head.status)
            after = StreamOnly("no-room")
        if isinstance(after, Freshen):
            await discard(response)
            await self._freshen(request, after, found, leader)
            return _Freshened(after.stored, head.status)
        if isinstance(after, Serve):
            await discard(response)
            return _Fallback(after)
        self._shelf.delete(after.delete)
        if leader != _RESTING:
            self._flights.release(request.key, leader, is_uncacheable=after.is_uncacheable)
        elif after.is_uncacheable:
            self._flights.remember_uncacheable(request.key)
        return _Streaming(response, fields.without(b"content-length"), after.reason)

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
    ) -> FillRun | None:
        """A fill for the response, or None where there is no room: it is then streamed only."""
        if self._shelf.fill_count >= self._limits.fills_max:
            return None
        self._shelf.delete(plan.delete)
        try:
            fill = self._shelf.begin(plan)
        except (SlabFull, ObjectTooLarge) as error:
            _log.info("a response is not stored: %s", error)
            return None
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

    def _spawn_run(self, run: FillRun) -> None:
        self._background.spawn(run.run()).add_done_callback(run.end)

    def _settle(self, fetching: asyncio.Task[_Result]) -> None:
        """Ends what a fetch began whose client has left."""
        if fetching.cancelled() or fetching.exception() is not None:
            return
        result = fetching.result()
        if isinstance(result, _Filling):
            self._spawn_run(result.run)
        elif isinstance(result, _Streaming):
            result.response.close()
