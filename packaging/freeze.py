"""`make freeze`: a wheel, installed by itself, frozen to build/out/freeze/neurocache.

Owns: the three steps and their directories. Never: what goes into the program, that is
neurocache.spec.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "build" / "out" / "freeze"
SITE = WORK / "site"
PROGRAM = WORK / "neurocache" / "neurocache"


def freeze() -> Path:
    """Makes the frozen program; gives its path.

    Raises:
        subprocess.CalledProcessError: a step failed and has said why.
    """
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    python = [sys.executable, "-m"]
    say("1/3 wheel")
    pip = [*python, "pip", "--quiet"]
    run(*pip, "wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", str(WORK), str(ROOT))
    (wheel,) = WORK.glob("neurocache-*.whl")
    say("2/3 installed by itself")
    run(*pip, "install", "--no-deps", "--no-index", "--target", str(SITE), str(wheel))
    say("3/3 frozen program")
    run(
        *python,
        "PyInstaller",
        "--log-level=WARN",
        "--noconfirm",
        f"--distpath={WORK}",
        f"--workpath={WORK / 'work'}",
        str(ROOT / "packaging" / "neurocache.spec"),
    )
    return PROGRAM


def run(*command: str) -> None:
    """Runs a step outside the source tree, so that the installed package is what it finds."""
    environment = os.environ | {"PYTHONPATH": str(SITE), "NEUROCACHE_FREEZE_SITE": str(SITE)}
    subprocess.run(command, cwd=WORK, env=environment, check=True)


def say(step: str) -> None:
    """Progress on stdout."""
    print(f"freeze: {step}", flush=True)


if __name__ == "__main__":
    try:
        print(f"freeze: {freeze().relative_to(ROOT)}")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
