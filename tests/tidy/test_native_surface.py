"""What the compiled modules show: to the dynamic linker one function, to Python what the .pyi files say."""

from __future__ import annotations

import ast
import importlib
import subprocess
import types
from pathlib import Path

import pytest

from tests.tidy.repository import ROOT

CORE = ROOT / "_core"
MODULES = sorted(file.stem for file in CORE.glob("*.pyx"))
NATIVE_OWNER = "slab"


def shared_object(name: str) -> Path:
    module = importlib.import_module(f"neuro._core.{name}")
    assert module.__file__ is not None
    return Path(module.__file__)


def declared_names(body: list[ast.stmt]) -> set[str]:
    """Public names of a .pyi file or of a class in it; imports and type aliases are no run-time names."""
    names = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


def real_names(thing: object) -> set[str]:
    """Public names without what the module has imported from elsewhere."""
    return {
        name
        for name in dir(thing)
        if not name.startswith("_") and not is_imported(getattr(thing, name), thing)
    }


def is_imported(value: object, owner: object) -> bool:
    if isinstance(value, types.ModuleType):
        return True
    home = getattr(value, "__module__", None)
    return isinstance(owner, types.ModuleType) and home not in {None, owner.__name__}


@pytest.mark.needs("nm")
@pytest.mark.parametrize("name", MODULES)
def test_only_the_init_function_leaves_an_extension(name: str) -> None:
    result = subprocess.run(
        ["nm", "-D", "--defined-only", str(shared_object(name))],
        capture_output=True,
        text=True,
        check=True,
    )
    symbols = [line.split()[-1] for line in result.stdout.splitlines()]
    assert symbols == [f"PyInit_{name}"]


def test_exactly_one_extension_holds_the_native_library() -> None:
    """Its panic message is in the archive and nowhere else."""
    holders = [name for name in MODULES if b"native panic" in shared_object(name).read_bytes()]
    assert holders == [NATIVE_OWNER]


@pytest.mark.parametrize("name", MODULES)
def test_module_has_the_declared_names_and_no_others(name: str) -> None:
    module = importlib.import_module(f"neuro._core.{name}")
    body = ast.parse((CORE / f"{name}.pyi").read_text()).body
    assert real_names(module) == declared_names(body)


@pytest.mark.parametrize("name", MODULES)
def test_classes_have_the_declared_members_and_no_others(name: str) -> None:
    module = importlib.import_module(f"neuro._core.{name}")
    for node in ast.parse((CORE / f"{name}.pyi").read_text()).body:
        if isinstance(node, ast.ClassDef):
            kind = getattr(module, node.name)
            inherited = {member for base in kind.__mro__[1:] for member in dir(base)}
            assert real_names(kind) - inherited == declared_names(node.body) - inherited, node.name
