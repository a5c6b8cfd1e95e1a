"""Requests as an attacker might write them: a grammar of HTTP/1.1 with everything that parsers differ in.

Owns: bytes from a seeded generator. Never: judging them. Most cases are nearly right, because what is
plainly wrong is refused by everybody and shows nothing.
"""

from __future__ import annotations

import random

METHODS = [b"GET"] * 6 + [b"POST"] * 6 + [b"PUT"] * 2 + [b"HEAD", b"DELETE", b"PATCH", b"OPTIONS"]
ODD_METHODS = [b"get", b"FOO", b"M-SEARCH", b"G!T", b"GET,", b"", b"POST GET"]
ODD_TARGETS = [
    *(b"//a", b"/a/../b", b"/./a", b"/a%2fb", b"/a%00b", b"/%", b"/a;b", b"/a\\b", b"/a//b?c//d"),
    *(
        b"/a?",
        b"/a?b?c",
        b"/a?b=%26&c;d",
        b"*",
        b"a",
        b"",
        b"/a#f",
        b"/\xc3\xa4",
        b"/a\tb",
        b"/a\x0bb",
    ),
    *(b"/a|b", b'/a"b', b"/<a>", b"/a{b}", b"/^`", b"/~", b"/:80", b"/@", b"/http://x/", b"?a"),
]
ABSOLUTE = [
    *(b"http://site.test", b"HTTP://SITE.test:80", b"http://site.test.", b"http://other.test"),
    *(
        b"https://site.test",
        b"http://u@site.test",
        b"http://site.test:8080",
        b"http://",
        b"ftp://site.test",
    ),
]
HOSTS = [b"site.test"] * 80 + [
    *(b"SITE.test", b"site.test.", b"site.test:80", b"site.test:080", b"site.test:8080", b"[::1]"),
    *(
        b"[::1]:81",
        b"127.0.0.1",
        b"a_b",
        b"site.test:",
        b"",
        b"a b",
        b"a,b",
        b"a/b",
        b"u@a",
        b"a:b",
    ),
    *(
        b"a:99999",
        b"a..b",
        b".a",
        b"\xe4",
        b"a%41",
        b"[::1",
        b"::1",
        b"site.test\x00",
        b"a;b",
        b"a?b",
    ),
]
LENGTHS = [
    *(
        b"+%d",
        b"0x%x",
        b"%d,%d",
        b"%d, %d",
        b"0%d",
        b"00000000000%d",
        b"%d ",
        b"\t%d",
        b"-%d",
        b"%d_0",
    ),
    *(b"%d.0", b"%d;", b"", b"%d\x0b", b'"%d"', b"18446744073709551616", b"99999999999999999999%d"),
]
CODINGS = [
    *(b"Chunked", b"CHUNKED", b" chunked", b"chunked ", b"\tchunked\t", b",chunked", b"chunked,"),
    *(
        b"chunked, chunked",
        b"identity",
        b"xchunked",
        b"gzip, chunked",
        b"chunked, gzip",
        b"chunked;a",
    ),
    *(
        b"\x0bchunked",
        b"chunked\x0b",
        b'"chunked"',
        b"",
        b"chunked\x00",
        b"chu nked",
        b"\xefchunked",
    ),
]
CODING_NAMES = [
    *(b"Transfer-Encoding", b"transfer-encoding", b"Transfer_Encoding", b"Transfer-Encoding "),
    *(b"\tTransfer-Encoding", b"Transfer-Encodin", b"X-Transfer-Encoding", b"Transfer-\rEncoding"),
]
LINE_ENDS = [b"\n", b"\r", b"\r\r\n", b"\n\r", b"\r\n\r", b"\x0b\r\n", b" \r\n", b""]
SIZES = [
    *(
        b"0%x",
        b"00000%x",
        b"%X",
        b"%x;a=b",
        b'%x;a="b"',
        b"%x;",
        b"%x; a",
        b"%x ;a",
        b" %x",
        b"%x ",
    ),
    *(
        b"0x%x",
        b"+%x",
        b"-%x",
        b"%x_0",
        b"%x\t",
        b"%xg",
        b"",
        b"%x,",
        b"0000000000000000%x",
        b"%x;a\nb",
    ),
]
FIELDS = [
    *(b"Accept-Encoding: gzip", b"User-Agent: x", b"Cookie: a=b", b"X-Probe:", b"X-Probe: \t x \t"),
    *(
        b"X-Probe: \xff\xfe",
        b"X-Probe: a,b",
        b'X-Probe: ;="',
        b"Connection: keep-alive",
        b"TE: trailers",
    ),
    *(
        b"Connection: X-Other",
        b"Connection: close",
        b"Connection: Close, x",
        b"Expect: 100-continue",
    ),
    *(b"Expect: x", b"Upgrade: h2c", b"Connection: upgrade, http2-settings", b"Keep-Alive: 5"),
    *(
        b"Range: bytes=0-1",
        b"If-None-Match: *",
        b"X-Forwarded-Host: evil",
        b"X_Forwarded_Host: evil",
    ),
    *(
        b"Proxy-Connection: close",
        b"Trailer: X-Probe",
        b"X-HTTP-Method-Override: DELETE",
        b"Via: 1.1 x",
    ),
]
BAD_FIELDS = [
    *(
        b"A : b",
        b"A\t: b",
        b" A: b",
        b"A: b\r\n c",
        b"A: b\r\n\tc",
        b"A",
        b": b",
        b"A(: b",
        b"A: \x00",
    ),
    *(
        b"A: b\rc",
        b"A: b\nc: d",
        b"\xe4: b",
        b"A: \x7f",
        b"A: \x01",
        b"Content-Length : 3",
        b"Host : x",
    ),
]
MUTANTS = b"\r\n\t :;,/?#%&=+-_.\x00\x0b\x7f\x85\xa0\xff09aAfFxXzZ\"'"


class Grammar:
    """One case after another; the same seed gives the same cases."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def case(self, tag: int) -> bytes:
        """One to three requests in one pipe; `tag` makes their targets unlike those of other cases."""
        count = self.random.choice((1, 1, 1, 2, 3))
        data = b"".join(self._request(b"%d-%d" % (tag, index)) for index in range(count))
        if self.random.random() < 0.3:
            data = self._mutate(data)
        return data

    def _maybe(self, chance: float) -> bool:
        return self.random.random() < chance

    def _request(self, tag: bytes) -> bytes:
        choose = self.random.choice
        method = choose(ODD_METHODS) if self._maybe(0.04) else choose(METHODS)
        target = b"/" + tag
        if self._maybe(0.15):
            target = choose(ODD_TARGETS) if self._maybe(0.2) else target + choose(ODD_TARGETS)
        if self._maybe(0.1):
            target = choose(ABSOLUTE) + target
        version = choose(
            (b"HTTP/1.0", b"HTTP/1.1", b"HTTP/1.2", b"http/1.1", b"HTTP/1.1 ", b"HTTP/01.1")
        )
        if self._maybe(0.9):
            version = b"HTTP/1.1"
        lines = self._head_lines()
        body_lines, body = self._body(method)
        lines += body_lines
        self.random.shuffle(lines)
        start = method + b" " + target + b" " + version
        if self._maybe(0.02):
            start = start.replace(b" ", choose((b"  ", b"\t", b"\x0b")), 1)
        head = b"".join(line + self._line_end() for line in (start, *lines)) + self._line_end()
        lead = choose((b"\r\n", b"\n", b"\r\n\r\n", b" ", b"\x00")) if self._maybe(0.03) else b""
        return lead + head + body

    def _line_end(self) -> bytes:
        return self.random.choice(LINE_ENDS) if self._maybe(0.008) else b"\r\n"

    def _head_lines(self) -> list[bytes]:
        choose = self.random.choice
        lines = [b"X-Probe: %d" % self.random.randrange(1000)]
        hosts = 1 if self._maybe(0.97) else choose((0, 2))
        lines += [b"Host: " + choose(HOSTS) for _ in range(hosts)]
        lines += [choose(FIELDS) for _ in range(choose((0, 0, 0, 1, 1, 2)))]
        if self._maybe(0.05):
            lines.append(choose(BAD_FIELDS))
        return lines

    def _body(self, method: bytes) -> tuple[list[bytes], bytes]:
        choose = self.random.choice
        if not self._maybe(0.15 if method in (b"GET", b"HEAD") else 0.85):
            return [], b""
        # Bodies look like requests, so that who errs about their end meets one.
        content = choose(
            (
                b"hello",
                b"0\r\n\r\n",
                b"GET /in-body HTTP/1.1\r\nHost: site.test\r\n\r\n",
                b"x" * 300,
            )
        )
        kind = self.random.random()
        lines: list[bytes] = []
        if kind < 0.5 or kind > 0.95:
            value = b"%d" % (len(content) + (choose((-1, 1, 40)) if self._maybe(0.05) else 0))
            if self._maybe(0.15):
                form = choose(LENGTHS)
                value = form.replace(b"%d", value).replace(b"%x", value)
            name = choose(
                (b"Content-Length", b"content-length", b"Content_Length", b"Content-Length ")
            )
            lines.append((name if self._maybe(0.1) else b"Content-Length") + b": " + value)
            if self._maybe(0.05):
                lines.append(b"Content-Length: %d" % choose((0, len(content), 5)))
        if kind >= 0.5:
            coding = choose(CODINGS) if self._maybe(0.15) else b"chunked"
            name = choose(CODING_NAMES) if self._maybe(0.08) else b"Transfer-Encoding"
            lines.append(name + b": " + coding)
            if self._maybe(0.04):
                lines.append(b"Transfer-Encoding: " + choose(CODINGS))
            content = self._chunks(content)
        return lines, content

    def _chunks(self, content: bytes) -> bytes:
        choose = self.random.choice
        parts = []
        while content:
            size = self.random.randint(min(4, len(content)), len(content))
            form = choose(SIZES) if self._maybe(0.03) else b"%x"
            line = form.replace(b"%x", b"%x" % size).replace(b"%X", b"%X" % size)
            end = choose(LINE_ENDS) if self._maybe(0.01) else b"\r\n"
            after = choose(LINE_ENDS) if self._maybe(0.01) else b"\r\n"
            parts.append(line + end + content[:size] + after)
            content = content[size:]
        last = choose((b"000", b"0;a", b"0x0", b"", b"-0")) if self._maybe(0.1) else b"0"
        trailer = b""
        if self._maybe(0.1):
            trailer = choose((b"X-A: y\r\n", b"Content-Length: 5\r\n", b" x: y\r\n", b"x\r\n"))
        return b"".join(parts) + last + b"\r\n" + trailer + self._line_end()

    def _mutate(self, data: bytes) -> bytes:
        mutable = bytearray(data)
        for _ in range(self.random.randint(1, 3)):
            at = self.random.randrange(len(mutable)) if mutable else 0
            kind = self.random.randrange(4)
            if kind == 0 and mutable:
                mutable[at] = self.random.choice(MUTANTS)
            elif kind == 1:
                mutable[at:at] = bytes([self.random.choice(MUTANTS)])
            elif kind == 2 and mutable:
                del mutable[at]
            else:
                end = min(len(mutable), at + self.random.randint(1, 30))
                mutable[at:at] = mutable[at:end]
        return bytes(mutable)
