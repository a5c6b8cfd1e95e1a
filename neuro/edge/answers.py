"""Answers that NeuroCache writes itself: errors and other short texts.

Owns: their field lines and the one place that knows which failure of an origin means which status.
Never: answers made from stored or fetched responses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuro.cache import Outcome
from neuro.errors import (
    UpstreamBusy,
    UpstreamConnectError,
    UpstreamError,
    UpstreamTimeout,
)
from neuro.http.cache_status import CacheStatus
from neuro.http.dates import format_date
from neuro.http.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Iterable

    from neuro.edge.exchange import ClientExchange
    from neuro.http.fields import FieldLine


def text_fields(now_s: int, status: CacheStatus, lines: Iterable[FieldLine] = ()) -> Fields:
    """The field lines of a short text, which no cache may keep."""
    return Fields(
        (
            (b"Date", format_date(now_s)),
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Cache-Control", b"no-store"),
            (b"Cache-Status", status.to_bytes()),
            *lines,
        )
    )


def answer_text(
    exchange: ClientExchange,
    status: int,
    text: str,
    *,
    now_s: int,
    cache_status: CacheStatus | None = None,
    lines: Iterable[FieldLine] = (),
    outcome: int = Outcome.ERROR,
) -> None:
    """Answers with one line of plain text."""
    fields = text_fields(now_s, cache_status or CacheStatus(), lines)
    exchange.answer_bytes(status, fields, text.encode("utf-8") + b"\n", outcome=outcome)


def status_of_failure(error: UpstreamError) -> int:
    """The gateway status of an origin's failure. Source: RFC 9110 sections 15.6.3 to 15.6.5."""
    if isinstance(error, UpstreamTimeout):
        return 504
    if isinstance(error, UpstreamBusy):
        return 503
    return 502


def answer_failure(exchange: ClientExchange, error: UpstreamError, *, now_s: int) -> None:
    """Tells a client that its origin failed, without naming the origin's address."""
    if isinstance(error, UpstreamTimeout):
        text = f"The origin did not answer in time ({error.phase})"
    elif isinstance(error, UpstreamConnectError):
        text = "The origin cannot be reached"
    elif isinstance(error, UpstreamBusy):
        text = "All connections to the origin are in use; try again later"
    else:
        text = "The origin gave no usable answer"
    lines = [(b"Retry-After", b"1")] if isinstance(error, UpstreamBusy) else []
    answer_text(
        exchange,
        status_of_failure(error),
        text,
        now_s=now_s,
        lines=lines,
        cache_status=CacheStatus(forward=b"miss", detail=error.code.encode("ascii")),
    )
