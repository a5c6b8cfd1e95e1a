"""Who listens on a TCP port of this machine, as far as this user may see it.

Owns the reading of /proc. Never needed to start: it only makes the error of a taken port useful.
"""

from __future__ import annotations

import os
from pathlib import Path

_LISTEN_STATE = "0A"
_TABLES = ("tcp", "tcp6")


def find_port_owner(port: int, proc: Path = Path("/proc")) -> str:
    """`pid 311 (nginx)`, or nothing when the owner is hidden from this user or has gone."""
    sockets = {f"socket:[{inode}]" for inode in _find_listening_inodes(port, proc)}
    if not sockets:
        return ""
    for directory in proc.iterdir():
        if directory.name.isdigit() and _holds_one_of(directory, sockets):
            return f"pid {directory.name} ({_read_name(directory)})"
    return ""


def _find_listening_inodes(port: int, proc: Path) -> set[str]:
    inodes = set()
    for table in _TABLES:
        try:
            rows = (proc / "net" / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            columns = row.split()
            local_port = int(columns[1].rpartition(":")[2], 16)
            if local_port == port and columns[3] == _LISTEN_STATE:
                inodes.add(columns[9])
    return inodes


def _holds_one_of(directory: Path, sockets: set[str]) -> bool:
    try:
        entries = list(os.scandir(directory / "fd"))
    except OSError:
        return False
    for entry in entries:
        try:
            target = os.readlink(entry.path)  # noqa: PTH115 (the target is no path)
        except OSError:
            continue
        if target in sockets:
            return True
    return False


def _read_name(directory: Path) -> str:
    try:
        return (directory / "comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return "ended"
