"""Heads on their way into the slab."""

from __future__ import annotations

import pytest

from neuro.errors import InvalidArgument, InvalidFieldError
from neuro.http.fields import FieldLine
from neuro.store import ObjectHead


def head(*fields: FieldLine, **values: int) -> ObjectHead:
    numbers = {"status": 200, "born": 1, "expires": 2} | values
    return ObjectHead(fields=fields, **numbers)  # type: ignore[arg-type]


def test_etag_is_found_at_its_place_in_the_block() -> None:
    rendered = head(
        (b"Content-Type", b"text/html"), (b"eTaG", b'W/"a b"'), (b"Date", b"x")
    ).render()
    # A blank is no etagc: this is not an entity-tag, and the engine must not compare with it.
    assert rendered.etag_length == 0
    rendered = head((b"Content-Type", b"text/html"), (b"eTaG", b'W/"ab"'), (b"Date", b"x")).render()
    start = rendered.etag_offset
    assert rendered.fields[start : start + rendered.etag_length] == b'W/"ab"'
    assert rendered.fields == b'Content-Type: text/html\r\neTaG: W/"ab"\r\nDate: x\r\n'


def test_two_etags_count_as_none() -> None:
    rendered = head((b"ETag", b'"a"'), (b"ETag", b'"b"')).render()
    assert rendered.etag_length == 0


def test_304_leaves_out_what_describes_the_body() -> None:
    lines = [
        (b"Content-Type", b"text/html"),
        (b"Cache-Control", b"max-age=5"),
        (b"Content-Encoding", b"gzip"),
        (b"Content-Location", b"/a"),
        (b"Date", b"Mon, 07 Nov 1994 08:49:37 GMT"),
        (b"ETag", b'"a"'),
        (b"Expires", b"0"),
        (b"Vary", b"Accept-Encoding"),
    ]
    block = head(*lines).render().fields_304
    names = [line.split(b":")[0] for line in block.split(b"\r\n")[:-1]]
    required = [b"Cache-Control", b"Content-Location", b"Date", b"ETag", b"Expires", b"Vary"]
    assert names == required


@pytest.mark.parametrize(
    "line",
    [
        (b"X", b"a\r\nSet-Cookie: x"),
        (b"X", b"a\nb"),
        (b"X", b"a\rb"),
        (b"X", b"a\x00b"),
        (b"X", b"\x7f"),
        (b"X Y", b"a"),
        (b"X:", b"a"),
        (b"", b"a"),
        (b"X\r\n", b"a"),
    ],
)
def test_line_that_would_break_the_message_is_refused(line: FieldLine) -> None:
    with pytest.raises(InvalidFieldError):
        head((b"Date", b"x"), line).render()


@pytest.mark.parametrize(
    "name", [b"Content-Length", b"transfer-encoding", b"Connection", b"Age", b"Cache-Status"]
)
def test_line_written_by_the_engine_is_refused(name: bytes) -> None:
    with pytest.raises(InvalidArgument, match="not stored"):
        head((name, b"1")).render()


@pytest.mark.parametrize(
    "values",
    [{"status": 199}, {"status": 600}, {"born": -1}, {"expires": 2**32}, {"last_modified": 2**32}],
)
def test_number_outside_its_range_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(InvalidArgument):
        head(**values).render()
