"""Compiles zig/ into the static archive that one extension links.

Owns: the Zig command lines (archive, tests, format check) and when the archive is up to date.
Never: C or Cython, that is extensions.py. Never `zig build`: its first run compiles a build
runner for minutes; `build-obj` and `ar` give the same bytes on every run in a second.

Run as a program: `python build/zig_archive.py archive|test|race|format-check|abi-check`.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "build" / "out"
INCLUDE = ROOT / "zig" / "include"
SOURCES = ROOT / "zig" / "src"
TESTS = ROOT / "zig" / "test"
ARCHIVE_NAME = "libneurocache_native.a"

OPTIMIZE_VARIABLE = "NEUROCACHE_ZIG_OPTIMIZE"
OPTIMIZE_DEFAULT = "safe"
"""Bounds and overflow checks stay on: a wrong index ends the process, it leaks no bytes."""
OPTIMIZE_MODES = ("safe", "fast", "debug")

OBJECT_FLAGS = ("-fPIC", "-fstrip", "-fno-stack-check", "-mcpu=baseline", "-lc", "-j1")
"""Equal sources give equal bytes everywhere: no paths, no host CPU, and one job at a time: the
compiler numbers symbols in the order in which its threads happen to finish."""


def optimize_mode() -> str:
    """Zig's `-O` mode: the environment's choice, or the default.

    Raises:
        SystemExit: the variable holds something else than a known mode.
    """
    mode = os.environ.get(OPTIMIZE_VARIABLE, "") or OPTIMIZE_DEFAULT
    if mode not in OPTIMIZE_MODES:
        raise SystemExit(f"{OPTIMIZE_VARIABLE}={mode}: expected one of {', '.join(OPTIMIZE_MODES)}")
    return mode


def zig_command() -> list[str]:
    """The compiler of the pinned `ziglang` package, run by its own path (no wrapper process).

    Raises:
        SystemExit: the package is not installed.
    """
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise SystemExit(
            "ziglang is not installed\nRun `make setup`, or `pip install ziglang==0.17.1`"
        )
    return [str(Path(spec.origin).parent / "zig")]


def zig_target() -> str:
    """Target triple of this machine's wheels; glibc's oldest supported version is Zig's choice."""
    return f"{platform.machine()}-linux-gnu"


def zig_sources() -> list[Path]:
    """Every file whose change makes the archive old, in a stable order."""
    return sorted([*SOURCES.rglob("*.zig"), *INCLUDE.glob("*.h")])


def archive_path(mode: str) -> Path:
    """Where the archive of a mode lies."""
    return OUT / "native" / mode / ARCHIVE_NAME


def build_archive(mode: str | None = None) -> Path:
    """Compiles the archive unless sources, flags and compiler are those of the last time.

    Raises:
        subprocess.CalledProcessError: the compiler has reported errors on stderr.
    """
    mode = mode or optimize_mode()
    archive = archive_path(mode)
    stamp = archive.with_suffix(".stamp")
    state = _inputs_digest(mode)
    if archive.exists() and stamp.exists() and stamp.read_text() == state:
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    object_file = archive.with_name("neurocache_native.o")
    run_zig(
        "build-obj",
        *OBJECT_FLAGS,
        *("-O", mode),
        *("-target", zig_target()),
        f"-femit-bin={object_file.relative_to(ROOT)}",
        "zig/src/root.zig",
    )
    archive.unlink(missing_ok=True)
    run_zig("ar", "rcsD", str(archive.relative_to(ROOT)), str(object_file.relative_to(ROOT)))
    stamp.write_text(state)
    return archive


def run_zig(*arguments: str) -> None:
    """Runs Zig in the repository with its caches below build/out.

    Raises:
        subprocess.CalledProcessError: it ended with an error.
    """
    subprocess.run([*zig_command(), *arguments], cwd=ROOT, env=zig_environment(), check=True)


def run_tests(*, race: bool = False, names: Sequence[str] = ()) -> None:
    """Runs the test blocks of zig/src and zig/test/*_test.zig, or with `race` zig/test/*_race.zig.

    The latter run under the thread sanitizer. Files in zig/test import zig/src/root.zig as the
    module `neurocache`; the blocks in zig/src are reached through the imports of root.zig.

    Raises:
        subprocess.CalledProcessError: a test failed.
    """
    flags = ("-O", "safe", "-lc", "-mcpu=baseline", *(("-fsanitize-thread",) if race else ()))
    library = SOURCES / "root.zig"
    files = (
        sorted(TESTS.glob("*_race.zig")) if race else [library, *sorted(TESTS.glob("*_test.zig"))]
    )
    for file in files:
        if names and file.stem not in names:
            continue
        path = str(file.relative_to(ROOT))
        print(f"zig test {path}{' (thread sanitizer)' if race else ''}", flush=True)
        if file == library:
            run_zig("test", *flags, path)
        else:
            module = (
                "--dep",
                "neurocache",
                f"-Mroot={path}",
                *flags,
                f"-Mneurocache={library.relative_to(ROOT)}",
            )
            run_zig("test", *flags, *module)


def check_abi() -> None:
    """Compiles zig/test/*.c: static asserts compare C's layout with the header's contract."""
    objects = OUT / "abi"
    objects.mkdir(parents=True, exist_ok=True)
    for file in sorted(TESTS.glob("*.c")):
        # Compiled, not only parsed: with -fsyntax-only `zig cc` trips over an argument of its own.
        run_zig(
            *("cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-Izig/include", "-c"),
            str(file.relative_to(ROOT)),
            *("-o", str((objects / file.name).with_suffix(".o").relative_to(ROOT))),
        )


def check_format() -> None:
    """Fails when a Zig file is not formatted."""
    run_zig("fmt", "--check", "zig")


def zig_environment() -> dict[str, str]:
    """The process's environment with Zig's caches below build/out, unless it names others."""
    cache = OUT / "zig-cache"
    return {
        "ZIG_GLOBAL_CACHE_DIR": str(cache / "global"),
        "ZIG_LOCAL_CACHE_DIR": str(cache / "local"),
    } | os.environ


def _inputs_digest(mode: str) -> str:
    digest = hashlib.sha256()
    for part in _inputs(mode):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _inputs(mode: str) -> Iterator[bytes]:
    version = subprocess.run(
        [*zig_command(), "version"], check=True, capture_output=True, env=zig_environment()
    )
    yield version.stdout
    yield " ".join([mode, zig_target(), *OBJECT_FLAGS]).encode()
    for source in zig_sources():
        yield str(source.relative_to(ROOT)).encode()
        yield source.read_bytes()


def main(arguments: Sequence[str]) -> None:
    """Entry point of the Makefile's native steps."""
    parser = argparse.ArgumentParser(prog="zig_archive.py", description="Build and check zig/")
    parser.add_argument("verb", choices=["archive", "test", "race", "format-check", "abi-check"])
    parser.add_argument("names", nargs="*", help="test files by stem; none: all")
    options = parser.parse_args(arguments)
    try:
        match options.verb:
            case "archive":
                print(build_archive().relative_to(ROOT))
            case "test":
                run_tests(names=options.names)
            case "race":
                run_tests(race=True, names=options.names)
            case "format-check":
                check_format()
            case "abi-check":
                check_abi()
    except subprocess.CalledProcessError as error:
        raise SystemExit(error.returncode) from None


if __name__ == "__main__":
    main(sys.argv[1:])
