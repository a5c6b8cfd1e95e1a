"""The C ABI as a C program sees it: layouts by static asserts, one round through the archive."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def zig_archive(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(ROOT / "build"))
    import zig_archive

    yield zig_archive
    sys.modules.pop("zig_archive", None)


def c_compiler(zig_archive: object) -> list[str]:
    """The system's, for it is the one that judges the header elsewhere; else Zig's."""
    system = shutil.which("cc")
    return [system] if system else [*zig_archive.zig_command(), "cc"]  # type: ignore[attr-defined]


def test_c_program_agrees_with_the_library(zig_archive: object, tmp_path: Path) -> None:
    program = tmp_path / "abi_check"
    archive = zig_archive.build_archive()  # type: ignore[attr-defined]
    subprocess.run(
        [
            *c_compiler(zig_archive),
            *("-std=c11", "-Wall", "-Wextra", "-Werror", "-Izig/include"),
            *("zig/test/abi_check.c", str(archive), "-o", str(program)),
        ],
        cwd=ROOT,
        env=zig_archive.zig_environment(),  # type: ignore[attr-defined]
        check=True,
    )
    result = subprocess.run([str(program)], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
