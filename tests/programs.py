"""Where the programs are that tests drive.

Owns: the search path. Never: starting them. Debian puts servers below /usr/sbin, which is not in every
user's PATH.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def find_program(name: str) -> str | None:
    """Path of a program, or None."""
    return shutil.which(name, path=SEARCH_PATH)


def environment_program(name: str) -> str:
    """Path of a console script of the running virtual environment."""
    return str(Path(sys.executable).with_name(name))
