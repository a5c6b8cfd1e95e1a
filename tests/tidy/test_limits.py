"""Files and functions stay small enough to be read in one go.

Source: CONTRIBUTING.md, section "Limits".
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tidy.repository import ROOT, functions, name_of, sources

FILE_LINES_MAX = 400
TEST_FILE_LINES_MAX = 600
"""Tests of one standard stay together: one file a section, read by searching."""

LONG_FILES = {"_core/engine.pyx": 460, "neuro/edge/site.py": 520}
"""Files to be divided, with the length they must not pass. This list only becomes shorter."""

FUNCTION_LINES_MAX = 70

SOURCES = sources(".py", ".pyx", ".pxi", ".zig")


def limit_of(file: Path) -> int:
    is_test = file.is_relative_to(ROOT / "tests")
    return LONG_FILES.get(name_of(file), TEST_FILE_LINES_MAX if is_test else FILE_LINES_MAX)


def test_files_are_short() -> None:
    long = {
        name_of(file): count
        for file in SOURCES
        if (count := len(file.read_text().splitlines())) > limit_of(file)
    }
    assert not long


def test_functions_are_short() -> None:
    long = {
        f"{name_of(file)}:{function.line} {function.name}": function.line_count
        for file in SOURCES
        for function in functions(file)
        if function.line_count > FUNCTION_LINES_MAX
    }
    assert not long


@pytest.mark.parametrize(
    ("suffix", "text", "expected"),
    [
        (".py", "def a():\n    x = 1\n\n    return x\n\nb = 2\n", [("a", 4)]),
        (".pyx", "cdef int a(\n    int b,\n) noexcept nogil:\n    return b\n\nc = 1\n", [("a", 4)]),
        (".pyx", "class A:\n    def b(self):\n        pass\n    def c(self):\n        pass\n", [("b", 2), ("c", 2)]),
        (".zig", "pub fn a(b: u8) u8 {\n    return b;\n}\n\nfn c() void {\n}\n", [("a", 3), ("c", 2)]),
        (".zig", "extern fn a() void;\nfn b(\n    c: u8,\n) void {\n    _ = c;\n}\n", [("b", 5)]),
    ],
)  # fmt: skip
def test_function_lengths_are_measured(
    tmp_path: Path, suffix: str, text: str, expected: list[tuple[str, int]]
) -> None:
    file = tmp_path / f"sample{suffix}"
    file.write_text(text)
    assert [(item.name, item.line_count) for item in functions(file)] == expected


def test_every_python_file_says_what_it_owns() -> None:
    silent = [
        name_of(file)
        for file in sources(".py")
        if file.is_relative_to(ROOT / "neuro") and not file.read_text().startswith('"""')
    ]
    assert not silent
