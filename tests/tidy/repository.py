"""The repository as data: which files it has, and how long their functions are.

Owns: the list of files and the reading of sources. Never: a judgement, those are in the tests.
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SKIPPED_PARTS = {".git", ".venv", "__pycache__", ".hypothesis", ".mypy_cache", ".ruff_cache"}

CYTHON_FUNCTION = re.compile(r"^(\s*)(?:async )?(?:def|cdef|cpdef)\b(?! class\b)[^=]*?(\w+)\s*\(")
ZIG_FUNCTION = re.compile(r"^(\s*)(?:pub )?(?:export |inline |noinline )?(?:fn (\w+)|test \")")


@dataclass(frozen=True, slots=True)
class Function:
    """A function or Zig test block, with its lines."""

    name: str
    line: int
    line_count: int


def tracked_files() -> list[Path]:
    """Every file that git tracks and that exists; in a source distribution every file outside outputs."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listing.returncode == 0 and listing.stdout:
        names = listing.stdout.decode().split("\0")
        return [ROOT / name for name in names if name and (ROOT / name).is_file()]
    return [
        file
        for file in sorted(ROOT.rglob("*"))
        if file.is_file()
        and not SKIPPED_PARTS.intersection(file.relative_to(ROOT).parts)
        and not file.is_relative_to(ROOT / "build" / "out")
    ]


def sources(*suffixes: str) -> list[Path]:
    """Tracked files with one of the suffixes."""
    return [file for file in tracked_files() if file.suffix in suffixes]


def name_of(file: Path) -> str:
    """Path from the repository's root, for messages."""
    return str(file.relative_to(ROOT))


def functions(file: Path) -> list[Function]:
    """The functions of a Python, Cython or Zig file."""
    text = file.read_text()
    match file.suffix:
        case ".py":
            return list(_python_functions(text))
        case ".pyx" | ".pxi":
            return list(_cython_functions(text.splitlines()))
        case ".zig":
            return list(_zig_functions(text.splitlines()))
    raise ValueError(f"{file}: not a source")


def _python_functions(text: str) -> Iterator[Function]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield Function(node.name, node.lineno, node.end_lineno - node.lineno + 1)


def _cython_functions(lines: list[str]) -> Iterator[Function]:
    """A function ends before the next line that is not blank and not deeper than its head."""
    for index, line in enumerate(lines):
        head = CYTHON_FUNCTION.match(line)
        if head is None:
            continue
        body_starts = next(
            (at for at in range(index, len(lines)) if lines[at].rstrip().endswith(":")), index
        )
        end = body_starts
        for at in range(body_starts + 1, len(lines)):
            text = lines[at]
            if text.strip() and len(text) - len(text.lstrip()) <= len(head[1]):
                break
            if text.strip():
                end = at
        yield Function(head[2], index + 1, end - index + 1)


def _zig_functions(lines: list[str]) -> Iterator[Function]:
    """`zig fmt` puts the closing brace of a block below the first letter of its head."""
    for index, line in enumerate(lines):
        head = ZIG_FUNCTION.match(line)
        if head is None:
            continue
        closing = head[1] + "}"
        for at in range(index, len(lines)):
            if at == index and line.rstrip().endswith((";", "}")):
                break
            if lines[at].startswith(closing):
                yield Function(head[2] or line.strip(), index + 1, at - index + 1)
                break
