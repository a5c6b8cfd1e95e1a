"""The life of a request to a site: carries out the plans of neuro.cache with sockets and the slab.

Owns: the order look up, plan, fetch, answer; joining others; what each client is told. Never: a
caching rule. Every path ends in exactly one answer, or in an exception that the bridge turns into
one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from neuro.cache import (
    CacheRequest,
    Fetch,
    OriginResponse,
    Outcome,
    PassThrough,
    Refuse,
    Revalidate,
    Role,
    Serve,
    StreamOnly,
    Verdict,
    build_first_reply,
    build_reply,
    on_origin_failure,
    plan_request,
    plan_response,
)
from neuro.edge.answers import answer_failure, answer_text
from neuro.edge.fetch import Fallback, FetchResult, Filling, Freshened, Streaming
from neuro.edge.passing import pass_response
from neuro.edge.replies import answer_reply
from neuro.errors import UpstreamError, UpstreamTimeout
from neuro.http.cache_status import CacheStatus
from neuro.http.fields import Fields
from neuro.http.hop_by_hop import remove_hop_by_hop

if TYPE_CHECKING:
    from neuro.cache import Plan, SharedCachePolicy
    from neuro.clock import Clock
    from neuro.edge.exchange import ClientExchange
    from neuro.edge.fetch import OriginFetcher
    from neuro.edge.flights import Flights
    from neuro.edge.forward import Forwarder
    from neuro.edge.shelf import Found, Shelf
    from neuro.edge.upstream_pool import OriginPool
    from neuro.http.fields import FieldLine

_log = logging.getLogger("neuro.edge")

ROUNDS_MAX: Final = 3
"""How often a request may wait for others' answers (variants differ) before it fetches alone."""


class SiteHandler:
    """Answers the requests of one site."""

    def __init__(
        self,
        *,
        fetcher: OriginFetcher,
        pool: OriginPool,
        forwarder: Forwarder,
        policy: SharedCachePolicy,
        shelf: Shelf,
        flights: Flights,
        clock: Clock,
    ) -> None:
        self._fetcher = fetcher
        self._pool = pool
        self._forwarder = forwarder
        self._policy = policy
        self._shelf = shelf
        self._flights = flights
        self._clock = clock

    async def handle(self, exchange: ClientExchange) -> None:
        """Answers one request."""
        facts = exchange.request
        request = CacheRequest(facts.method, facts.key, exchange.fields, facts.has_body)
        waited_for: bytes | None = None
        for round_index in range(ROUNDS_MAX):
            is_last = round_index == ROUNDS_MAX - 1
            waited_for = await self._handle_round(exchange, request, waited_for, is_last)
            if waited_for is None:
                return

    async def _handle_round(
        self,
        exchange: ClientExchange,
        request: CacheRequest,
        waited_for: bytes | None,
        is_last: bool,
    ) -> bytes | None:
        """One look at what is stored.

        Args:
            waited_for: the `fwd` reason for which this request waited for another one, if it did.

        Returns:
            None when the request is answered; else it has waited for another one, and looks again.
        """
        found = self._shelf.find(request)
        try:
            plan = self._plan(request, found)
            if found is not None and found.is_filling and not isinstance(plan, Serve):
                # Only a stored object can be validated or fallen back to.
                found = self._shelf.find(request, joins_fills=False)
                plan = self._plan(request, found)
            if isinstance(plan, Fetch | Revalidate):
                return await self._join_or_fetch(exchange, request, plan, found, is_last)
            if isinstance(plan, Serve):
                self._serve(exchange, request, plan, found, waited_for)
            elif isinstance(plan, Refuse):
                self._refuse(exchange, plan)
            else:
                await self._pass(exchange, request, plan)
            return None
        finally:
            if found is not None:
                found.release()

    def _plan(self, request: CacheRequest, found: Found | None) -> Plan:
        return plan_request(
            request,
            None if found is None else found.stored,
            self._clock.wall_s(),
            self._policy,
            is_uncacheable=self._flights.is_uncacheable(request.key),
        )

    async def _join_or_fetch(
        self,
        exchange: ClientExchange,
        request: CacheRequest,
        plan: Fetch | Revalidate,
        found: Found | None,
        is_last: bool,
    ) -> bytes | None:
        number = exchange.request.request
        role = Role.ALONE
        if plan.may_collapse and not is_last:
            role = self._flights.join(request.key, number)
        if role is Role.FOLLOWER:
            landing = await self._flights.wait(request.key, number)
            if landing.failure is not None:
                self._answer_failed(exchange, request, found, landing.failure)
                return None
            if landing.verdict is Verdict.USE:
                return plan.forward
            role = Role.ALONE
        await self._fetch_and_answer(exchange, request, plan, found, role)
        return None

    # ----------------------------------------------------------- answering

    def _refuse(self, exchange: ClientExchange, plan: Refuse) -> None:
        answer_text(
            exchange,
            plan.status,
            f"NeuroCache does not answer this request: {plan.reason}",
            now_s=self._clock.wall_s(),
            cache_status=CacheStatus(detail=plan.reason.encode("ascii")),
        )

    def _serve(
        self,
        exchange: ClientExchange,
        request: CacheRequest,
        plan: Serve,
        found: Found | None,
        waited_for: bytes | None,
    ) -> None:
        handle = 0 if found is None else found.handle
        if waited_for is not None:
            status = CacheStatus(forward=waited_for, is_collapsed=True)
            reply = build_reply(request, plan.stored, self._clock.wall_s(), status)
            answer_reply(exchange, reply, handle, outcome=Outcome.COLLAPSED)
        else:
            answer_reply(exchange, plan.reply, handle, outcome=plan.outcome)
        if plan.refresh is not None and found is not None:
            self._fetcher.refresh(exchange.request, request, plan.refresh, found)

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
            fetching = self._fetcher.spawn_lead(facts, request, plan, found, facts.request, inform)
            try:
                result = await asyncio.shield(fetching)
            except asyncio.CancelledError:
                fetching.add_done_callback(
                    self._fetcher.settle
                )  # the client left, the fetch goes on
                raise
        else:
            result = await self._fetcher.fetch(facts, request, plan, found, inform)
        await self._answer(exchange, request, plan, found, result)

    async def _answer(
        self,
        exchange: ClientExchange,
        request: CacheRequest,
        plan: Fetch | Revalidate,
        found: Found | None,
        result: FetchResult,
    ) -> None:
        now_s = self._clock.wall_s()
        if isinstance(result, Filling):
            await self._answer_filling(exchange, request, plan, result)
        elif isinstance(result, Streaming):
            status = CacheStatus(
                forward=plan.forward,
                forward_status=result.response.head.status,
                detail=result.reason.encode("ascii"),
            )
            fields = result.fields.append(b"Cache-Status", status.to_bytes())
            await pass_response(exchange, result.response, fields, outcome=Outcome.MISS)
        elif isinstance(result, Freshened):
            status = CacheStatus(forward=plan.forward, forward_status=result.status, is_stored=True)
            reply = build_reply(request, result.stored, now_s, status)
            handle = 0 if found is None else found.handle
            answer_reply(exchange, reply, handle, outcome=Outcome.REVALIDATED)
        elif isinstance(result, Fallback):
            handle = 0 if found is None else found.handle
            answer_reply(exchange, result.serve.reply, handle, outcome=result.serve.outcome)
        else:
            self._answer_failed(exchange, request, found, result.error)

    async def _answer_filling(
        self,
        exchange: ClientExchange,
        request: CacheRequest,
        plan: Fetch | Revalidate,
        result: Filling,
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
            self._fetcher.start_run(run)
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
