"""The object API below /cache/: PUT, GET, HEAD and DELETE of objects that have no origin.

Owns: who may write, preconditions, which fields of a PUT are kept. Never: file names (a key is only
hashed and compared), expiry by guessing (an object without max-age stays until it is replaced,
deleted or evicted). Fresh GET and HEAD never come here: the engine answers them.
"""

from __future__ import annotations

import hmac
import mimetypes
from typing import TYPE_CHECKING, Final

from neuro.cache import Outcome
from neuro.cache.entry import EntryMeta
from neuro.cache.messages import AUTHORIZED_OK, TIME_MAX_S, CacheRequest, StoredResponse
from neuro.cache.reply import build_reply
from neuro.edge.answers import answer_text, text_fields
from neuro.edge.object_upload import Upload
from neuro.edge.replies import answer_reply
from neuro.errors import ObjectTooLarge, SlabFull
from neuro.http.cache_status import CacheStatus
from neuro.http.dates import format_date
from neuro.http.directives import parse_cache_control
from neuro.http.fields import Fields, split_list
from neuro.http.forwarding import is_client_claim
from neuro.http.freshness import explicit_lifetime_s
from neuro.http.host import is_direct
from neuro.http.validation import strongly_equal, weakly_equal
from neuro.store import ObjectHead
from neuro.store.head import SECONDS_MAX as TIME_NEVER

if TYPE_CHECKING:
    from neuro.clock import Clock
    from neuro.edge.exchange import ClientExchange
    from neuro.edge.settings import ObjectApiSettings
    from neuro.http.fields import FieldLine
    from neuro.native import Object
    from neuro.store import ObjectStore

ALLOW: Final = b"GET, HEAD, PUT, DELETE, OPTIONS"

KEPT_FIELDS: Final = (
    b"Content-Type",
    b"Content-Encoding",
    b"Content-Language",
    b"Content-Disposition",
    b"Cache-Control",
    b"Link",
)
"""What of a PUT comes back with GET. Not Set-Cookie, not CORS or framing fields: an object must not
be able to speak for the host it is served from."""

_FORM: Final = b"application/x-www-form-urlencoded"
_TYPES: Final = mimetypes.MimeTypes(filenames=())  # its own table: the same on every machine


class ObjectApi:
    """Answers requests whose path lies below /cache/."""

    def __init__(self, store: ObjectStore, settings: ObjectApiSettings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    async def handle(self, exchange: ClientExchange) -> None:
        """Answers one request."""
        method = exchange.request.method
        if method in (b"GET", b"HEAD"):
            self._read(exchange)
        elif method == b"OPTIONS":
            lines = [(b"Allow", ALLOW)]
            fields = text_fields(self._clock.wall_s(), CacheStatus(), lines)
            exchange.start(204, fields, length=None, outcome=Outcome.OBJECT_API)
        elif method not in (b"PUT", b"DELETE"):
            self._say(exchange, 405, "Objects know GET, HEAD, PUT and DELETE", (b"Allow", ALLOW))
        elif self._may_write(exchange):
            if method == b"PUT":
                await self._put(exchange)
            else:
                self._delete(exchange)

    # -------------------------------------------------------------- reading

    def _read(self, exchange: ClientExchange) -> None:
        found = self._find(exchange.request.key)
        if found is None:
            self._say(exchange, 404, "No object is stored under this key")
            return
        try:
            if not self._holds_preconditions(exchange, found.etag):
                return
            stored = StoredResponse.from_object(found)
            request = CacheRequest(exchange.request.method, stored.key, exchange.fields)
            reply = build_reply(request, stored, self._clock.wall_s(), CacheStatus(is_hit=True))
            answer_reply(exchange, reply, found.handle, outcome=Outcome.OBJECT_API)
        finally:
            found.release()

    def _find(self, key: bytes) -> Object | None:
        found = self._store.slab.acquire(key)
        if found is not None and found.expires <= self._clock.wall_s():
            found.release()
            self._store.delete(key)
            return None
        return found

    def _find_etag(self, key: bytes) -> bytes | None:
        """The entity-tag of the object that is there now; None: there is none."""
        found = self._find(key)
        if found is None:
            return None
        etag = found.etag
        found.release()
        return etag

    # -------------------------------------------------------------- writing

    def _may_write(self, exchange: ClientExchange) -> bool:
        """Whether the client may write; else it has been answered (docs/decisions/0021)."""
        token = self._settings.token
        if token is None:
            if exchange.request.peer_is_loopback and _came_directly(exchange):
                return True
            self._say(exchange, 403, "Without a token, objects are written from this machine only")
            return False
        scheme, _, given = (exchange.fields.get_single(b"authorization") or b"").partition(b" ")
        is_equal = hmac.compare_digest(given.strip(b" "), token.encode("utf-8"))
        if scheme.lower() == b"bearer" and is_equal:
            return True
        self._say(
            exchange,
            401,
            "Writing needs `Authorization: Bearer TOKEN`",
            (b"WWW-Authenticate", b'Bearer realm="neurocache"'),
        )
        return False

    async def _put(self, exchange: ClientExchange) -> None:
        refusal = self._refuse_put(exchange)
        if refusal is not None:
            self._say(exchange, *refusal)
            return
        if not self._holds_preconditions(exchange, self._find_etag(exchange.request.key)):
            return
        upload = Upload(self._store.slab, self._settings.object_bytes_max)
        try:
            await upload.receive(exchange.read_body())
            await self._publish(exchange, upload)
        except ObjectTooLarge as error:
            limit = error.bytes_max or self._settings.object_bytes_max
            self._say(exchange, 413, f"Objects hold at most {limit} bytes")
        except SlabFull:
            self._say(exchange, 507, "The slab has no room for this object now")
        finally:
            upload.close()

    def _refuse_put(self, exchange: ClientExchange) -> tuple[int, str] | None:
        request = exchange.request
        if len(request.key) <= len(b"cache:/cache/"):
            return 400, "The key is empty: PUT to /cache/KEY"
        if b"content-range" in exchange.fields:
            return 400, "A PUT with Content-Range would store a part (RFC 9110 section 14.5)"
        limit = self._settings.object_bytes_max
        if request.content_length is not None and request.content_length > limit:
            return 413, f"Objects hold at most {limit} bytes"
        return None

    async def _publish(self, exchange: ClientExchange, upload: Upload) -> None:
        key = exchange.request.key
        now_s = self._clock.wall_s()
        fields = self._object_fields(exchange, upload.etag, now_s)
        lifetime = explicit_lifetime_s(fields, parse_cache_control(fields), now_s)
        expires = TIME_NEVER if lifetime is None else min(now_s + lifetime[0], TIME_MAX_S)
        meta = EntryMeta(
            request_time_s=now_s,
            response_time_s=now_s,
            freshness_source="object-api",
            is_explicit=True,
            content_hash=upload.digest,
        )
        head = ObjectHead(
            status=200,
            fields=fields,
            born=now_s,
            expires=expires,
            last_modified=now_s,
            flags=AUTHORIZED_OK,
            meta=meta.to_bytes(),
        )
        fill = self._store.begin(key, head, upload.length)
        try:
            await upload.copy_into(fill)
            current = self._find_etag(key)  # another PUT may have ended first
            holds = self._holds_preconditions(exchange, current)
        except BaseException:
            fill.abort()
            raise
        if not holds:
            fill.abort()
            return
        fill.publish().release()
        lines = [(b"Date", format_date(now_s)), (b"ETag", upload.etag)]
        lines.append((b"Cache-Status", CacheStatus(detail=b"stored").to_bytes()))
        if current is None:
            lines.append((b"Location", exchange.request.target))
        exchange.start(
            201 if current is None else 204,
            Fields(lines),
            length=0 if current is None else None,
            outcome=Outcome.OBJECT_API,
        )

    def _object_fields(self, exchange: ClientExchange, etag: bytes, now_s: int) -> Fields:
        given = exchange.fields
        lines = [
            (name, value)
            for name in KEPT_FIELDS
            for value in given.get_all(name)
            if name != b"Content-Type"
        ]
        return Fields(
            (
                (b"Date", format_date(now_s)),
                (b"Content-Type", _content_type(exchange)),
                *lines,
                (b"ETag", etag),
                (b"Last-Modified", format_date(now_s)),
                (b"Accept-Ranges", b"bytes"),
                (b"X-Content-Type-Options", b"nosniff"),
            )
        )

    def _delete(self, exchange: ClientExchange) -> None:
        current = self._find_etag(exchange.request.key)
        if not self._holds_preconditions(exchange, current):
            return
        if current is None:
            self._say(exchange, 404, "No object is stored under this key")
            return
        self._store.delete(exchange.request.key)
        fields = text_fields(self._clock.wall_s(), CacheStatus(detail=b"deleted"))
        exchange.start(
            204, fields.without(b"content-type"), length=None, outcome=Outcome.OBJECT_API
        )

    # -------------------------------------------------------- preconditions

    def _holds_preconditions(self, exchange: ClientExchange, etag: bytes | None) -> bool:
        """Whether If-Match holds, and for writes If-None-Match; else 412 has been answered.

        If-None-Match of GET and HEAD is answered with 304 further on.
        Source: RFC 9110 sections 13.1.1, 13.1.2 and 13.2.2.
        """
        match = exchange.fields.combined(b"if-match")
        none_match = exchange.fields.combined(b"if-none-match")
        holds = match is None or _names(match, etag, is_strong=True)
        if exchange.request.method in (b"PUT", b"DELETE") and none_match is not None:
            holds = holds and not _names(none_match, etag, is_strong=False)
        if not holds:
            self._say(exchange, 412, "The stored object does not meet the precondition")
        return holds

    def _say(self, exchange: ClientExchange, status: int, text: str, *lines: FieldLine) -> None:
        answer_text(
            exchange,
            status,
            text,
            now_s=self._clock.wall_s(),
            lines=lines,
            outcome=Outcome.OBJECT_API,
        )


def _names(value: bytes, etag: bytes | None, *, is_strong: bool) -> bool:
    """Whether a list of entity-tags, or "*", names the current one."""
    if etag is None:
        return False
    compare = strongly_equal if is_strong else weakly_equal
    return any(member == b"*" or compare(member, etag) for member in split_list(value))


def _content_type(exchange: ClientExchange) -> bytes:
    """The type that was sent; a form's, which `curl --data-binary` claims for any file, counts as
    none and leaves the choice to the key's extension."""
    given = exchange.fields.get_single(b"content-type")
    if given and given.partition(b";")[0].strip().lower() != _FORM:
        return given
    path = exchange.request.key.decode("latin-1")
    guessed, encoding = _TYPES.guess_type(path, strict=True)
    if guessed is None or encoding is not None:
        return b"application/octet-stream"
    return guessed.encode("ascii")


def _came_directly(exchange: ClientExchange) -> bool:
    """Whether nothing says that somebody else stands behind a peer on loopback: a proxy on this
    machine, or a web page that made its own name resolve to it."""
    is_relayed = any(
        name.lower() == b"via" or is_client_claim(name) for name, _ in exchange.request.fields
    )
    return not is_relayed and is_direct(exchange.request.authority.decode("ascii"))
