"""Carries out a Reply of neuro.cache: the head, and bytes of an object that the engine writes.
itself.

Owns nothing. Never decides: which head and which bytes was decided in neuro.cache.reply.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from neuro.cache.plans import Reply
    from neuro.edge.exchange import ClientExchange

_BODILESS = frozenset((204, 304))


def answer_reply(exchange: ClientExchange, reply: Reply, handle: int, *, outcome: int) -> None:
    """Answers from the object `handle`, LIVE or FILLING; the caller holds a pin until this returns.

    Raises:
        ClientGone: the client has left.
    """
    if reply.status in _BODILESS or reply.length == 0:
        exchange.answer_head(reply.status, reply.fields, length=reply.length, outcome=outcome)
    else:
        exchange.answer_object(
            handle,
            reply.status,
            reply.fields,
            length=reply.length,
            offset=reply.offset,
            outcome=outcome,
        )
