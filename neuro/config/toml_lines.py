"""On which line of a TOML file each key stands.

Owns a scanner that knows just enough of TOML for that. Never gives values: `tomllib` reads those,
but it forgets lines, and a fault without its line is half a fault. The file parsed before.
"""

from __future__ import annotations

import re

KeyPath = tuple[str, ...]

_HEADER = re.compile(r"\s*\[{1,2}\s*([^\[\]]+?)\s*\]{1,2}\s*(#.*)?$")
_KEY_PART = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[A-Za-z0-9_-]+)\s*""")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""|\'\'\'.*?\'\'\'|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*', re.DOTALL
)


def find_key_lines(text: str) -> dict[KeyPath, int]:
    """Line numbers, from 1, of tables and of keys in them; keys inside inline tables have none."""
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    depth = 0
    for number, line in enumerate(_blank_strings(text).splitlines(), start=1):
        original = text.splitlines()[number - 1]
        if depth == 0:
            header = _HEADER.match(original) if line.lstrip().startswith("[") else None
            if header:
                table = _split_key(header[1])[0]
                lines.setdefault(table, number)
                continue
            path, rest = _split_key(original)
            if path and rest.startswith("="):
                for length in range(1, len(path) + 1):
                    lines.setdefault(table + path[:length], number)
        depth += sum(map(line.count, "[{")) - sum(map(line.count, "]}"))
    return lines


def _split_key(text: str) -> tuple[KeyPath, str]:
    """The dotted key at the start of a text, and what follows it."""
    parts: list[str] = []
    position = 0
    while match := _KEY_PART.match(text, position):
        part = match[1]
        parts.append(part[1:-1] if part[0] in "\"'" else part)
        position = match.end()
        if not text.startswith(".", position):
            break
        position += 1
    return tuple(parts), text[position:]


def _blank_strings(text: str) -> str:
    """The text with strings and comments as spaces, lines kept, so that brackets can be counted."""
    return _STRING.sub(lambda match: re.sub(r"[^\n]", " ", match[0]), text)
