"""The frozen program's first module: the same entry point as the console script's."""

from __future__ import annotations

import sys

from neuro.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
