"""A client's request as it goes to an origin, and an origin's head as it goes to a client.

Owns: framing of forwarded requests and what is added in either direction. Never: which fields are
hop-by-hop or client claims (neuro.http.forwarding knows), sending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from neuro.edge.upstream import UpstreamRequest
from neuro.http.dates import format_date
from neuro.http.forwarding import Hop, client_response_fields, origin_request_fields
from neuro.http.vary import selecting_values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from neuro.edge.origin_codec import ResponseHead
    from neuro.http.fields import Fields
    from neuro.native import RequestEvent

# These methods tell a length even when there is no content (RFC 9110 section 8.6).
_METHODS_WITH_CONTENT = frozenset((b"POST", b"PUT", b"PATCH"))
_ACCEPT_ENCODING = b"accept-encoding"


class Forwarder:
    """Writes requests for one origin in the name of one node."""

    def __init__(self, cdn_id: bytes, authority: bytes) -> None:
        self._cdn_id = cdn_id
        self._authority = authority

    def request(
        self,
        facts: RequestEvent,
        method: bytes,
        fields: Fields,
        body: AsyncIterator[bytes] | None = None,
    ) -> UpstreamRequest:
        """A request for the origin, with `fields` of the plan instead of the client's own.

        Host is the origin's authority; what the client asked for travels in X-Forwarded-Host.
        Accept-Encoding is sent as the variant key sees it, so equal keys mean equal requests.
        """
        hop = Hop(
            cdn_id=self._cdn_id,
            client_address=facts.peer_address.encode("ascii"),
            scheme=b"http",
            authority=facts.authority,
            minor_version=facts.minor_version,
        )
        final = origin_request_fields(fields, hop).replace(b"Host", self._authority)
        if _ACCEPT_ENCODING in final:
            (normalised,) = selecting_values((_ACCEPT_ENCODING,), fields)
            final = final.replace(b"Accept-Encoding", normalised or b"identity")
        if body is not None:
            if facts.content_length is None:
                final = final.append(b"Transfer-Encoding", b"chunked")
            else:
                final = final.append(b"Content-Length", b"%d" % facts.content_length)
            if facts.expects_continue:
                final = final.append(b"Expect", b"100-continue")
        elif method in _METHODS_WITH_CONTENT:
            final = final.append(b"Content-Length", b"0")
        return UpstreamRequest(
            method=method,
            target=facts.target,
            fields=list(final),
            body=body,
            expects_continue=body is not None and facts.expects_continue,
        )

    def response_fields(self, head: ResponseHead, now_s: int) -> Fields:
        """The end-to-end fields of a response with Via and a Date; Content-Length still among them.

        Source: RFC 9110 sections 6.6.1 (a recipient adds a missing Date) and 7.6.3.
        """
        fields = client_response_fields(head.fields, self._cdn_id, head.minor_version)
        if b"date" not in fields:
            fields = fields.append(b"Date", format_date(now_s))
        return fields
