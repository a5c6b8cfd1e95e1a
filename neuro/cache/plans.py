"""What the life of a request can turn into: the plans that the edge carries out.

Owns the types and nothing else. A plan is complete: whoever carries it out decides nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

from neuro.cache.entry import EntryMeta
from neuro.cache.messages import StoredResponse
from neuro.http.fields import Fields


class Outcome(IntEnum):
    """How an answer came about; the values of NC_OUTCOME_* in neurocache.h."""

    HIT = 0
    MISS = 1
    REVALIDATED = 2
    STALE = 3
    COLLAPSED = 4
    BYPASS = 5
    ERROR = 6
    OBJECT_API = 7
    PREFETCHED = 8


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer from a stored response: head, and which bytes of the body follow.

    `length` is None where no Content-Length may be told: a 304, or a body still of unknown length.
    """

    status: int
    fields: Fields
    offset: int
    length: int | None


@dataclass(frozen=True, slots=True)
class Serve:
    """Answer from the stored response; `refresh` is a revalidation to start in the background."""

    stored: StoredResponse
    reply: Reply
    outcome: Outcome
    reason: str
    refresh: Revalidate | None = None


@dataclass(frozen=True, slots=True)
class Revalidate:
    """Ask the origin whether the stored response still holds; `fields` carry its validators.

    `method` is GET or HEAD; `forward` is the `fwd` of Cache-Status.
    """

    stored: StoredResponse
    method: bytes
    fields: Fields
    forward: bytes
    reason: str
    may_collapse: bool


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask the origin; the response may be stored. `stored` is what it might update or replace."""

    method: bytes
    fields: Fields
    forward: bytes
    reason: str
    may_collapse: bool
    stored: StoredResponse | None = None


@dataclass(frozen=True, slots=True)
class PassThrough:
    """Ask the origin and store nothing."""

    method: bytes
    fields: Fields
    forward: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with an error of our own."""

    status: int
    reason: str


Plan = Serve | Revalidate | Fetch | PassThrough | Refuse


@dataclass(frozen=True, slots=True)
class MarkerPlan:
    """The Vary marker for the primary key: status 200, no fields, no body, never expires."""

    key: bytes
    flags: int
    born_s: int
    meta: EntryMeta


@dataclass(frozen=True, slots=True)
class StorePlan:
    """Store the response at `key` and answer from it.

    `fields` go to the slab as they are. `delete` lists keys to drop first, `marker` an object to
    store once the response is published. `may_share` says whether waiting requests may use it;
    where False they must be released at once.
    """

    key: bytes
    status: int
    fields: Fields
    body_length: int | None
    born_s: int
    expires_s: int
    stale_while_revalidate_s: int
    stale_if_error_s: int
    last_modified_s: int
    flags: int
    meta: EntryMeta
    reason: str
    may_share: bool
    marker: MarkerPlan | None = None
    delete: tuple[bytes, ...] = ()

    def as_stored(self) -> StoredResponse:
        """The stored response this becomes, to build replies from while the body still arrives."""
        return StoredResponse(
            key=self.key,
            status=self.status,
            fields=self.fields,
            body_length=self.body_length,
            born_s=self.born_s,
            expires_s=self.expires_s,
            stale_while_revalidate_s=self.stale_while_revalidate_s,
            stale_if_error_s=self.stale_if_error_s,
            flags=self.flags,
            meta=self.meta,
        )


@dataclass(frozen=True, slots=True)
class StreamOnly:
    """Forward the response and do not store it.

    `delete` lists keys to drop. With `is_uncacheable` the key is to be remembered, so that later
    requests do not wait for each other.
    """

    reason: str
    delete: tuple[bytes, ...] = ()
    is_uncacheable: bool = False


class Write(Enum):
    """How much of a stored response a validation changes."""

    NOTHING = "nothing"
    TIMES = "times"
    FIELDS = "fields"


@dataclass(frozen=True, slots=True)
class Freshen:
    """The stored response still holds: answer from `stored`, which has the new fields and times.

    `write` says what to change in the slab: nothing, the times (refresh), or the object (its body
    copied under the new fields). `delete` lists keys to drop after the answer.
    """

    stored: StoredResponse
    write: Write
    reason: str
    may_share: bool
    delete: tuple[bytes, ...] = ()


ResponsePlan = StorePlan | StreamOnly | Freshen | Serve
