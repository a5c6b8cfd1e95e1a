"""Imports run one way, and each third-party package has the places where it may be imported.

The order itself is in pyproject.toml, checked by import-linter; here is what it cannot say.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

from tests.programs import environment_program
from tests.tidy.repository import ROOT, name_of, sources

NEURO = ROOT / "neuro"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

PLACES = {
    "neuro._core": {"native.py", "wire"},
    "onnxruntime": {"predict/runtime.py", "policy/runtime.py"},
    "prometheus_client": {"telemetry", "admin"},
    "rich": {"cli"},
    "starlette": {"admin"},
    "torch": {"train"},
    "typer": {"cli"},
    "uvicorn": {"admin", "server"},
    "uvloop": {"server", "cli"},
}
"""Package: the only places below neuro/ that import it."""

PUBLIC_PACKAGES = {"prometheus-client": "prometheus_client"}
"""Name on PyPI, where it differs from the name in an import statement."""

HEAVY = (
    "torch",
    "onnxruntime",
    "numpy",
    "aioquic",
    "uvloop",
    "starlette",
    "uvicorn",
    "neuro._core",
)
"""What the command line must not load before it knows that a node is to run."""


def imports_of(file: Path) -> set[str]:
    """Absolute names that a module imports, type-only imports left out."""
    names: set[str] = set()
    tree = ast.parse(file.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


PRODUCT = {file: imports_of(file) for file in sources(".py") if file.is_relative_to(NEURO)}


def test_layer_contracts_hold() -> None:
    result = subprocess.run(
        [environment_program("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_module_has_a_layer() -> None:
    contract = PROJECT["tool"]["importlinter"]["contracts"][0]
    layered = set(re.findall(r"\w+", " ".join(contract["layers"])))
    present = {file.relative_to(NEURO).parts[0].removesuffix(".py") for file in PRODUCT}
    assert present - {"__init__"} <= layered


def test_packages_are_imported_only_in_their_places() -> None:
    strays = []
    for file, names in PRODUCT.items():
        place = str(file.relative_to(NEURO))
        for package, places in PLACES.items():
            allowed = place in places or place.split("/", maxsplit=1)[0] in places
            if not allowed and any(is_within(name, package) for name in names):
                strays.append(f"{name_of(file)} imports {package}")
    assert not strays


def test_dependencies_are_declared_and_used() -> None:
    declared = set()
    for requirement in PROJECT["project"]["dependencies"]:
        name = re.split(r"[<>=!~\[; ]", requirement)[0]
        declared.add(PUBLIC_PACKAGES.get(name, name))
    used = defaultdict(set)
    for file, names in PRODUCT.items():
        for name in names:
            top = name.split(".")[0]
            if top not in sys.stdlib_module_names and top != "neuro":
                used[top].add(name_of(file))
    assert set(used) - declared == set(), "imported, but not a dependency"
    assert declared - set(used) == set(), "a dependency that nothing imports"


def narrows_a_type(test: ast.expr) -> bool:
    """Whether an assert only tells the type checker what the code before has established."""
    text = ast.unparse(test)
    return text.startswith("isinstance(") or text.endswith(" is not None")


def test_product_code_asserts_only_what_types_cannot_say() -> None:
    """`python -O` removes assert statements; invariants are for checks.check(), which stays."""
    found = [
        f"{name_of(file)}:{node.lineno}"
        for file in PRODUCT
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Assert) and not narrows_a_type(node.test)
    ]
    assert not found


def test_command_line_starts_light() -> None:
    code = f"""
import sys
import neuro.cli.main
heavy = [name for name in {HEAVY!r} if name in sys.modules]
sys.exit(f"loaded: {{heavy}}" if heavy else 0)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
