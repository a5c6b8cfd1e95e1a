"""The door to native code: lazy, checked, and with clear errors."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from neuro import native
from neuro.errors import NativeMismatch, NativeMissing


def test_importing_the_door_loads_nothing_native() -> None:
    program = (
        "import sys; import neuro.native; print(*[m for m in sys.modules if 'neuro._core' in m])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""


def test_every_name_behind_the_door_exists_and_types_agree() -> None:
    tree = ast.parse(Path(native.__file__).read_text(encoding="utf-8"))
    declared = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("neuro._core")
        for alias in node.names
    }
    for_types_only = {"Event"}
    assert declared - for_types_only == set(native._MODULES)
    for name in sorted(native._MODULES):
        assert getattr(native, name) is not None
    assert declared <= set(native.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        native.nonsense  # noqa: B018


def test_a_missing_extension_says_how_to_build_it() -> None:
    with pytest.raises(NativeMissing, match="make build") as caught:
        native._import("neuro._core.nowhere")
    assert caught.value.module == "neuro._core.nowhere"


def test_another_version_of_the_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    native.check_abi_version()
    monkeypatch.setattr(native, "_import", lambda _: SimpleNamespace(ABI_VERSION=2))
    with pytest.raises(NativeMismatch) as caught:
        native.check_abi_version()
    assert (caught.value.expected, caught.value.found) == (native.ABI_VERSION, 2)
