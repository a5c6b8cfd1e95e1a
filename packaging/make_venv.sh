#!/usr/bin/env bash
# Makes or completes the virtual environment of `make setup`: exact packages, then the project in place.
# Owns: finding Python 3.11, order of installation, messages. Never: system packages.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv}

say() { printf 'setup: %s\n' "$*"; }

find_python() {
    local candidate
    for candidate in "${NEUROCACHE_PYTHON:-}" python3.11 python3.12 python3.13 python3; do
        [[ -n $candidate ]] || continue
        if "$candidate" - 2>/dev/null <<'PY'
import os, sys, sysconfig
import ensurepip, venv
header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
sys.exit(not (sys.version_info >= (3, 11) and os.path.exists(header)))
PY
        then
            command -v "$candidate"
            return
        fi
    done
    cat >&2 <<'TEXT'
setup: no Python 3.11 or later with its headers and venv was found
On Debian: `apt-get install python3.11 python3.11-dev python3.11-venv`; else name one in `NEUROCACHE_PYTHON`
TEXT
    return 1
}

if [[ ! -x $venv/bin/python ]]; then
    python=$(find_python)
    say "1/3 virtual environment in $venv from $python"
    "$python" -m venv "$venv"
else
    say "1/3 virtual environment in $venv is there"
fi

say "2/3 packages of constraints.txt (the first time this takes a minute or two)"
pip=("$venv/bin/python" -m pip install --quiet --constraint constraints.txt)
"${pip[@]}" pip setuptools wheel Cython ziglang

say "3/3 native code and the neurocache program"
PYTHONWARNINGS=ignore "${pip[@]}" --no-build-isolation --editable '.[dev]'
say "done: $venv/bin/neurocache"
