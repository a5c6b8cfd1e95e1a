"""Build entry point: hands setuptools the extensions of build/; everything static is in
pyproject.toml.

Owns: nothing but the connection. Why it exists: extension lists need code, and the Zig archive
must be compiled before the extension that links it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
os.chdir(ROOT)
sys.path.insert(0, str(ROOT / "build"))

import extensions  # noqa: E402  (build/ is not a package: `build` is the name of PyPA's front end)

setup(
    packages=[*find_packages(include=["neuro", "neuro.*"]), extensions.PACKAGE],
    package_dir={extensions.PACKAGE: "_core"},
    ext_modules=extensions.extension_modules(),
    cmdclass={"build_ext": extensions.BuildExtensions},
    options={"build": {"build_base": "build/out/setuptools"}},
)
