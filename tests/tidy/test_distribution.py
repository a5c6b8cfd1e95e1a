"""Wheel and source distribution hold what they need, and a machine without a C compiler can build them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.tidy.repository import ROOT, name_of, tracked_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BUILD_INPUTS = ("neuro", "_core", "zig", "build", "packaging", "tests", "bench", "docs")
TOP_FILES = {"setup.py", "pyproject.toml", "constraints.txt", "Makefile", "README.md", "LICENSE"}


def run(*command: str, cwd: Path, **environment: str) -> None:
    result = subprocess.run(
        command,
        cwd=cwd,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout


@pytest.fixture(scope="module")
def source_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sdist")
    arguments = ("--sdist", "--no-isolation", "--outdir", str(target), str(ROOT))
    run(sys.executable, "-m", "build", *arguments, cwd=target)
    (archive,) = target.glob("*.tar.gz")
    return archive


def test_source_archive_has_every_source(source_archive: Path) -> None:
    with tarfile.open(source_archive) as archive:
        present = {name.partition("/")[2] for name in archive.getnames()}
    expected = {
        name for file in tracked_files() if (name := name_of(file)).split("/")[0] in BUILD_INPUTS
    }
    assert (expected | TOP_FILES) - present == set()
    assert not [name for name in present if name.endswith((".so", ".o", ".a", ".pyc"))]


def test_wheel_builds_from_the_source_archive_without_a_c_compiler(
    source_archive: Path, tmp_path: Path
) -> None:
    with tarfile.open(source_archive) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = (path for path in tmp_path.iterdir() if path.is_dir())
    cache = ROOT / "build" / "out" / "zig-cache"
    run(
        *(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)),
        cwd=source,
        NEUROCACHE_CC="zig",
        ZIG_GLOBAL_CACHE_DIR=str(cache / "global"),
        ZIG_LOCAL_CACHE_DIR=str(cache / "local"),
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    modules = sorted(file.stem for file in (ROOT / "_core").glob("*.pyx"))
    for module in modules:
        assert any(re.fullmatch(rf"neuro/_core/{module}\.cpython-\S+\.so", name) for name in names)
    assert {"neuro/py.typed", "neuro/_core/slab.pyi"} <= names
    assert {name.split("/")[0] for name in names} == {
        "neuro",
        f"neurocache-{PROJECT_VERSION}.dist-info",
    }
    imports = "; ".join(f"import neuro._core.{module}" for module in modules)
    check = f"{imports}; import neuro; assert neuro.__file__.startswith({str(tmp_path)!r})"
    run(sys.executable, "-c", check, cwd=tmp_path, PYTHONPATH=str(tmp_path / "site"))


PROJECT_VERSION = metadata.version("neurocache")


def test_version_is_the_package_s_own() -> None:
    import neuro

    assert neuro.__version__ == PROJECT_VERSION


def test_constraints_pin_every_package_exactly() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][\w.]*", pin) for pin in pins)
    pinned = {normal(pin.partition("==")[0]) for pin in pins}
    needed = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
    names = {normal(re.split(r"[<>=!~\[; ]", requirement)[0]) for requirement in needed}
    seen = set()
    while names:
        name = names.pop()
        seen.add(name)
        for requirement in metadata.requires(name) or []:
            dependency, _, condition = requirement.partition(";")
            if "extra" not in condition and applies(condition):
                names.add(normal(re.split(r"[<>=!~\[\( ]", dependency.strip())[0]))
        names -= seen
    assert seen - pinned == set(), "needed, but not pinned"


def applies(condition: str) -> bool:
    """Whether an environment marker holds here."""
    from packaging.markers import Marker

    return not condition.strip() or Marker(condition).evaluate()


def normal(name: str) -> str:
    """Name of a package as registries compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()
