"""Cache directives of one message: Cache-Control, or the targeted field that replaces it.

Owns the grammar and the defaults for broken input; never computes freshness. Broken members are
kept, not dropped: a `no-store` with an odd argument still forbids, a `max-age` that is no number
makes the response stale, so every fault falls to the safe side.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from neuro.errors import HttpSyntaxError
from neuro.http import structured
from neuro.http.fields import Fields, is_token, split_list

DELTA_SECONDS_MAX: Final = 2**31
CDN_CACHE_CONTROL: Final = b"cdn-cache-control"

_DIGITS: Final = re.compile(rb"[0-9]+")
_NAME_AT_START: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_QUOTED: Final = re.compile(rb'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\[\t\x20-\x7e\x80-\xff])*)"')
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)


def parse_delta_seconds(value: bytes) -> int | None:
    """Seconds of a delta-seconds, at most 2^31; None when it is not 1 or more digits.

    Source: RFC 9111 section 1.2.2.
    """
    if _DIGITS.fullmatch(value) is None:
        return None
    significant = value.lstrip(b"0")
    if len(significant) > 10:
        return DELTA_SECONDS_MAX
    return min(int(significant or b"0"), DELTA_SECONDS_MAX)


@dataclass(frozen=True, slots=True)
class Directive:
    """One directive; `argument` is None without "=", unquoted otherwise."""

    name: bytes
    argument: bytes | None = None
    is_malformed: bool = False


@dataclass(frozen=True, slots=True)
class Directives:
    """The directives in force for a message; `source` is the lower-case field name or b""."""

    members: tuple[Directive, ...] = ()
    source: bytes = b""

    def __contains__(self, name: object) -> bool:
        return any(member.name == name for member in self.members)

    def all(self, name: bytes) -> list[Directive]:
        """Every directive of this lower-case name, in order."""
        return [member for member in self.members if member.name == name]

    def seconds(self, name: bytes) -> int | None:
        """The directive's delta-seconds; None when absent, 0 when malformed or repeated.

        Source: RFC 9111 section 4.2.1 (conflicting or invalid freshness is best taken as stale).
        """
        found = self.all(name)
        if not found:
            return None
        argument = found[0].argument
        if len(found) > 1 or found[0].is_malformed or argument is None:
            return 0
        return parse_delta_seconds(argument) or 0

    def is_unqualified(self, name: bytes) -> bool:
        """Whether the directive applies to the whole response: present without a list of names.

        A broken list counts as none, so the directive then covers everything.
        Source: RFC 9111 sections 5.2.2.4 and 5.2.2.7.
        """
        return any(not _named_fields(member) for member in self.all(name))

    def named_fields(self, name: bytes) -> frozenset[bytes]:
        """The lower-case field names that qualified forms of the directive list."""
        return frozenset(field for member in self.all(name) for field in _named_fields(member))


def _named_fields(member: Directive) -> list[bytes]:
    if member.is_malformed or member.argument is None:
        return []
    names = split_list(member.argument)
    return [name.lower() for name in names] if all(is_token(name) for name in names) else []


def parse_cache_control(fields: Fields) -> Directives:
    """The directives of every Cache-Control line, in order.

    Source: RFC 9111 section 5.2; RFC 9110 sections 5.6.1 and 5.6.4 for lists and quoting.
    """
    values = fields.get_all(b"cache-control")
    if not values:
        return Directives()
    members: list[Directive] = []
    for value in values:
        for part in split_list(value):
            members.extend(_parse_member(part))
    return Directives(tuple(members), b"cache-control")


def _parse_member(part: bytes) -> list[Directive]:
    name, equals, argument = part.partition(b"=")
    if is_token(name):
        if not equals:
            return [Directive(name.lower())]
        if is_token(argument):
            return [Directive(name.lower(), argument)]
        quoted = _QUOTED.fullmatch(argument)
        if quoted is not None:
            return [Directive(name.lower(), _ESCAPE.sub(rb"\1", quoted.group(1)))]
    # A quote without an end has swallowed what follows: look for restrictions in there too.
    broken: list[Directive] = []
    for piece in part.split(b","):
        match = _NAME_AT_START.match(piece.strip(b' \t"'))
        if match is not None:
            broken.append(Directive(match.group().lower(), is_malformed=True))
    return broken


def parse_targeted(fields: Fields, name: bytes) -> Directives | None:
    """The directives of a targeted field such as CDN-Cache-Control.

    Returns:
        None when the field is absent, empty or does not parse: it then counts as not present.
    Source: RFC 9213 section 2.1.
    """
    value = fields.combined(name)
    if value is None:
        return None
    try:
        dictionary = structured.parse_dictionary(value)
    except HttpSyntaxError:
        return None
    if not dictionary:
        return None
    members = [
        directive
        for key, member in dictionary.items()
        if (directive := _from_structured(key.encode("ascii"), member)) is not None
    ]
    return Directives(tuple(members), name.lower())


_DELTA_DIRECTIVES: Final = frozenset(
    (b"max-age", b"s-maxage", b"stale-while-revalidate", b"stale-if-error")
)
_LISTING_DIRECTIVES: Final = frozenset((b"no-cache", b"private"))


def _from_structured(
    name: bytes, member: structured.Item | structured.InnerList
) -> Directive | None:
    # A value of the wrong type is not consumed (RFC 9213 section 2.1); what forbids still does,
    # since to ignore `no-store=1` would store what its sender did not want stored.
    value = member.value if isinstance(member, structured.Item) else None
    if name in _DELTA_DIRECTIVES:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            return None
        return Directive(name, b"%d" % value)
    if value is False:
        return None
    if name in _LISTING_DIRECTIVES and isinstance(value, str):
        return Directive(name, value.encode("ascii"))
    if value is True or value is None:
        return Directive(name)
    if isinstance(value, (int, Decimal, bytes)):
        return Directive(name, is_malformed=True)
    text = value if isinstance(value, str) else getattr(value, "text", "")
    return Directive(name, text.encode("utf-8"))


def response_directives(
    fields: Fields, targets: tuple[bytes, ...] = (CDN_CACHE_CONTROL,)
) -> Directives:
    """The directives in force for a response: the first valid target, else Cache-Control.

    With a target in force, Cache-Control and Expires must be ignored.
    Source: RFC 9213 section 2.2.
    """
    for target in targets:
        directives = parse_targeted(fields, target)
        if directives is not None:
            return directives
    return parse_cache_control(fields)


def request_directives(fields: Fields) -> Directives:
    """The directives of a request; `Pragma: no-cache` counts when there is no Cache-Control.

    Source: RFC 9111 sections 5.2.1 and 5.4.
    """
    if b"cache-control" in fields:
        return parse_cache_control(fields)
    pragma = [member.lower() for member in fields.list_members(b"pragma")]
    if b"no-cache" in pragma:
        return Directives((Directive(b"no-cache"),), b"pragma")
    return Directives()
