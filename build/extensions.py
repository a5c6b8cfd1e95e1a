"""The Cython extensions: sources, compiler flags, and which one links the Zig archive.

Owns: the list of extensions, the staging of .pxd and .pyi files, the choice of a C compiler.
Never: Zig command lines, those are in zig_archive.py.

Cython resolves `cimport neuro._core.slab` through package directories, but the sources lie in
`_core/` (setuptools maps the name with package_dir, Cython does not know that). So the .pxd and
.pyi files are staged as a package tree below build/out/stage: Cython's include path and mypy's
`mypy_path`.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from setuptools import Extension
from setuptools.command.build_ext import build_ext

import zig_archive

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = zig_archive.ROOT
CORE = ROOT / "_core"
STAGE = zig_archive.OUT / "stage"
PACKAGE = "neuro._core"

NATIVE_OWNER = "slab"
"""The one extension that links the archive: two would hold two copies of its state."""

COMPILE_FLAGS = ("-std=c11", "-O2", "-g0", "-fvisibility=hidden", "-ffile-prefix-map=.=neurocache")
VERSION_SCRIPT = ROOT / "build" / "exports.map"
"""Leaves PyInit_* as the only dynamic symbols; gcc's linker and Zig's both obey it."""
LINK_FLAGS = ("-Wl,--as-needed", f"-Wl,--version-script={VERSION_SCRIPT.relative_to(ROOT)}")

CYTHON_DIRECTIVES = {
    "language_level": "3",
    "embedsignature": True,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "freethreading_compatible": False,
}


def stage_declarations() -> Path:
    """Copies .pxd and .pyi files into a tree with the package's real name; gives its root."""
    target = STAGE / "neuro" / "_core"
    target.mkdir(parents=True, exist_ok=True)
    wanted = {"__init__.pxd": b"", "__init__.pyi": b'"""Compiled modules."""\n'}
    for file in sorted([*CORE.glob("*.pxd"), *CORE.glob("*.pyi")]):
        wanted[file.name] = file.read_bytes()
    for name, content in wanted.items():
        _write_if_changed(target / name, content)
    for stale in target.iterdir():
        if stale.name not in wanted:
            stale.unlink()
    _write_if_changed(STAGE / "neuro" / "__init__.pxd", b"")
    return STAGE


def extension_modules() -> list[Extension]:
    """Every _core/*.pyx as `neuro._core.<stem>`, not yet translated to C."""
    return [_extension(file) for file in sorted(CORE.glob("*.pyx"))]


class BuildExtensions(build_ext):
    """Compiles the Zig archive, translates what changed, then builds with any C compiler."""

    def run(self) -> None:
        """Builds the archive and the extensions that are older than their sources."""
        if self.extensions:
            archive = zig_archive.build_archive()
            translate(self.extensions)
            for extension in self.extensions:
                if extension.name == f"{PACKAGE}.{NATIVE_OWNER}":
                    link_archive(extension, archive)
        super().run()

    def build_extensions(self) -> None:
        """Compiles with the system's C compiler, or with `zig cc` where there is none."""
        if _needs_zig_cc(self.compiler.compiler_so):
            use_zig_cc(self.compiler)
        super().build_extensions()


def translate(modules: list[Extension]) -> None:
    """Replaces the .pyx sources of the extensions by C files below build/out/cython."""
    from Cython.Build import cythonize  # noqa: PLC0415  (metadata commands need no Cython)

    translated = cythonize(
        modules,
        build_dir="build/out/cython",
        include_path=[str(stage_declarations().relative_to(ROOT))],
        compiler_directives=CYTHON_DIRECTIVES,
        quiet=True,
    )
    for module, result in zip(modules, translated, strict=True):
        module.sources = result.sources


def link_archive(extension: Extension, archive: Path) -> None:
    """Links the archive, and relinks when it or any Zig source changes."""
    path = str(archive.relative_to(ROOT))
    extension.extra_objects.append(path)
    extension.depends += [path, *_relative(zig_archive.zig_sources())]


def use_zig_cc(compiler: object) -> None:
    """Makes a distutils compiler call `zig cc`, with the baseline CPU as target."""
    command = [*zig_archive.zig_command(), "cc", "-target", zig_archive.zig_target()]
    flags = ["-fno-sanitize=undefined", "-fwrapv", "-DNDEBUG", "-fPIC"]
    set_executables = compiler.set_executables  # type: ignore[attr-defined]
    set_executables(
        compiler=[*command, *flags],
        compiler_so=[*command, *flags],
        compiler_cxx=[*command, *flags],
        linker_so=[*command, "-shared"],
        linker_exe=command,
    )
    for variable, value in zig_archive.zig_environment().items():
        os.environ[variable] = value


def _extension(file: Path) -> Extension:
    return Extension(
        f"{PACKAGE}.{file.stem}",
        [str(file.relative_to(ROOT))],
        include_dirs=["zig/include"],
        extra_compile_args=list(COMPILE_FLAGS),
        extra_link_args=list(LINK_FLAGS),
        depends=_relative([*CORE.glob("*.pxd"), *zig_archive.INCLUDE.glob("*.h"), VERSION_SCRIPT]),
    )


def _needs_zig_cc(command: object) -> bool:
    if os.environ.get("NEUROCACHE_CC", "") == "zig":
        return True
    words = command.split() if isinstance(command, str) else list(command or [])  # type: ignore[call-overload]
    return not words or shutil.which(words[0]) is None


def _relative(files: Iterable[Path]) -> list[str]:
    return [str(file.relative_to(ROOT)) for file in sorted(files)]


def _write_if_changed(path: Path, content: bytes) -> None:
    """Keeps the time stamp of an equal file: Cython and distutils compare times."""
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)


if __name__ == "__main__":
    stage_declarations()
    sys.stdout.write(f"{STAGE.relative_to(ROOT)}\n")
