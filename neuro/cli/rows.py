"""Rows on stdout, in the four formats of `ctl`.

Owns the shapes. `plain` has one row a line with tabs between the cells and no head, for `cut` and
`awk`; bytes that would break a line or a terminal are escaped as in Python.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from neuro.cli.store_link import get_bytes

Row = dict[str, Any]
FORMATS: Final = ("plain", "table", "json", "jsonl")


def print_rows(output: str, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Prints rows; the JSON formats show all of a row, the others its `columns`."""
    if output == "jsonl":
        for row in rows:
            print(json.dumps(row), flush=True)
    elif output == "json":
        print(json.dumps(list(rows), indent=2))
    elif output == "table":
        cells = [[name.upper().replace("_", " ") for name in columns]]
        cells += [[show_cell(row, name) for name in columns] for row in rows]
        widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
        for line in cells:
            print("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip())
    else:
        for row in rows:
            print("\t".join(show_cell(row, name) for name in columns), flush=True)


def print_one(output: str, columns: Sequence[str], row: Row) -> None:
    """Prints one row; as a JSON object rather than a list of one."""
    if output == "json":
        print(json.dumps(row, indent=2))
    else:
        print_rows(output, columns, [row])


def show_cell(row: Row, name: str) -> str:
    """One cell as text that stays on its line."""
    if name not in row and f"{name}_b64" in row:
        return escape(get_bytes(row, name))
    value = row.get(name, "")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return escape(value.encode())
    return json.dumps(value)


def escape(data: bytes) -> str:
    r"""UTF-8 as it is; control characters, backslashes and other bytes as `\n`, `\\`, `\xff`."""
    text = data.decode("utf-8", errors="surrogateescape")
    return "".join(
        letter
        if letter.isprintable() and letter != "\\"
        else f"\\x{ord(letter) - 0xDC00:02x}"
        if "\udc80" <= letter <= "\udcff"
        else letter.encode("unicode_escape").decode("ascii")
        for letter in text
    )
