"""The archive is reproducible, and is rebuilt when and only when an input changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.repository import ROOT


@pytest.fixture
def source_copy(tmp_path: Path) -> Path:
    """zig/ and build/ of the repository in a directory of another name."""
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "zig", copy / "zig")
    (copy / "build").mkdir()
    shutil.copy(ROOT / "build" / "zig_archive.py", copy / "build")
    return copy


def build(directory: Path, **environment: str) -> Path:
    cache = ROOT / "build" / "out" / "zig-cache" / "global"
    result = subprocess.run(
        [sys.executable, "build/zig_archive.py", "archive"],
        cwd=directory,
        env=os.environ | {"ZIG_GLOBAL_CACHE_DIR": str(cache)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return directory / result.stdout.strip()


def test_equal_sources_give_equal_bytes_in_another_directory(source_copy: Path) -> None:
    assert build(source_copy).read_bytes() == build(ROOT).read_bytes()


def test_archive_is_rebuilt_when_a_source_changes_and_only_then(source_copy: Path) -> None:
    archive = build(source_copy)
    first = archive.stat().st_mtime_ns
    assert build(source_copy).stat().st_mtime_ns == first
    root = source_copy / "zig" / "src" / "root.zig"
    changed = root.read_text() + "\nexport fn nc_test_probe() u32 {\n    return 42;\n}\n"
    root.write_text(changed)
    assert build(source_copy).stat().st_mtime_ns > first
    assert b"nc_test_probe" in archive.read_bytes()


def test_broken_source_is_an_error_and_leaves_no_archive_to_link(source_copy: Path) -> None:
    root = source_copy / "zig" / "src" / "root.zig"
    root.write_text("this is not Zig")
    result = subprocess.run(
        [sys.executable, "build/zig_archive.py", "archive"],
        cwd=source_copy,
        capture_output=True,
        check=False,
    )
    assert result.returncode != 0
    assert b"root.zig:1:" in result.stderr


def test_unknown_optimize_mode_is_an_error() -> None:
    result = subprocess.run(
        [sys.executable, "build/zig_archive.py", "archive"],
        cwd=ROOT,
        env=os.environ | {"NEUROCACHE_ZIG_OPTIMIZE": "reckless"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "expected one of safe, fast" in result.stderr
