"""An origin's response on its way to one client, without being stored.

Owns: the loop between the two sockets. The slower of them sets the pace: nothing is buffered beyond
READ_HIGH_BYTES on one side and WRITE_HIGH_BYTES on the other.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from neuro.errors import UpstreamError

if TYPE_CHECKING:
    from neuro.edge.exchange import ClientExchange
    from neuro.edge.upstream import UpstreamResponse
    from neuro.http.fields import Fields

_log = logging.getLogger("neuro.edge")

DISCARD_BYTES_MAX = 65_536
"""An unwanted body is read up to here to keep its connection; beyond, closing is cheaper."""


async def pass_response(
    exchange: ClientExchange, response: UpstreamResponse, fields: Fields, *, outcome: int
) -> None:
    """Answers with the response; a body that breaks off is cut for the client too."""
    head = response.head
    try:
        if exchange.request.method == b"HEAD" or head.status in (204, 304):
            length = head.content_length if exchange.request.method == b"HEAD" else None
            exchange.answer_head(head.status, fields, length=length, outcome=outcome)
            await response.read()
            return
        exchange.start(head.status, fields, length=head.content_length, outcome=outcome)
        while data := await response.read():
            await exchange.write(data)
        if not exchange.is_answered:
            exchange.finish()
    except UpstreamError as error:
        _log.info("a response broke off: %s", error)
        exchange.abort()
    finally:
        response.close()


async def discard(response: UpstreamResponse) -> None:
    """Reads a short body to its end, so that the connection stays usable."""
    read_bytes = 0
    try:
        while read_bytes <= DISCARD_BYTES_MAX:
            data = await response.read()
            if not data:
                return
            read_bytes += len(data)
    except UpstreamError:
        return
    finally:
        response.close()
