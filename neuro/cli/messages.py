"""How failures look on a terminal: one sentence, then the way out on a line of its own.

Owns that shape. Goes to stderr always; stdout is for data.
"""

from __future__ import annotations

import difflib
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def print_error(message: str, hint: str = "") -> None:
    """Writes `error: ...`, and `  try: ...` where there is something to try."""
    print(f"error: {message}", file=sys.stderr)
    if hint:
        print(f"  try: {hint}", file=sys.stderr)


def suggest(word: str, known: Iterable[str], *, prefix: str) -> str:
    """The command that was probably meant, or the help."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"{prefix} {near[0]}" if near else f"{prefix} --help"
