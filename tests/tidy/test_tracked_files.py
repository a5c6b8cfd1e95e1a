"""Nothing of one machine is in the repository: no paths, no registry hosts, no build outputs."""

from __future__ import annotations

import re

from tests.tidy.repository import ROOT, name_of, tracked_files

MACHINE = re.compile(
    rb"(?<![\w.])/(?:work|root|home/\w+)/|/opt/pypi|\.pyenv/|pypi\.org/simple"
    rb"|files\.pythonhosted|registry\.npmjs|index-url"
)
THIS_FILE = "tests/tidy/test_tracked_files.py"
BINARY_SUFFIXES = {".so", ".o", ".a", ".pyc", ".whl"}


def test_no_file_names_a_machine_or_a_registry() -> None:
    found = {
        f"{name_of(file)}: {match[0].decode(errors='replace')}"
        for file in tracked_files()
        if name_of(file) != THIS_FILE
        for match in MACHINE.finditer(file.read_bytes())
    }
    assert not found


def test_no_build_output_is_tracked() -> None:
    found = [
        name_of(file)
        for file in tracked_files()
        if file.suffix in BINARY_SUFFIXES or file.is_relative_to(ROOT / "build" / "out")
    ]
    assert not found


def test_build_directory_is_no_package() -> None:
    assert not (ROOT / "build" / "__init__.py").exists(), "it would hide PyPA's `build`"


def test_scripts_start_with_an_interpreter_and_may_run() -> None:
    scripts = [*ROOT.glob("packaging/*.sh"), ROOT / ".ci" / "run"]
    for script in scripts:
        assert script.read_bytes().startswith(b"#!/usr/bin/env bash\n"), name_of(script)
        assert script.stat().st_mode & 0o111, name_of(script)
