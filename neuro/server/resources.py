"""What a node takes from the machine before it starts: its directory and its addresses.

Owns the lock on the data directory and the errors that name who is in the way.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import socket
from typing import TYPE_CHECKING

from neuro.errors import AddressInUse, StartError
from neuro.server.port_owner import find_port_owner
from neuro.units import Address, format_address

if TYPE_CHECKING:
    from pathlib import Path

FILES_BESIDE_CONNECTIONS = 512
"""Descriptors kept for the origin's connections, the admin port, logs and the loop itself."""

_LOCK_NAME = "lock"


class DataDirectory:
    """The node's directory, made with mode 0700 and held by one process at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock_fd = -1

    def open(self) -> None:
        """Creates what is missing and takes the lock.

        Raises:
            StartError: it cannot be created or written, or another node holds it.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_fd = os.open(self.path / _LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise StartError(
                f"data directory `{self.path}` is in use by another node",
                hint="give each node its own `--id`, or its own `--data DIR`",
            ) from error
        except OSError as error:
            self.close()
            raise StartError(
                f"data directory `{self.path}` cannot be used: {error.strerror}",
                hint="choose a directory that this user may write with `--data DIR`",
            ) from error

    def close(self) -> None:
        """Gives the lock back. Idempotent."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def raise_file_limit(connections_max: int) -> int:
    """Raises the soft limit of open files as far as it may go; how many connections that allows.

    The usual soft limit of 1024 is for programs that use select(); the hard one is the machine's.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections_max + FILES_BESIDE_CONNECTIONS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return connections_max
    return max(0, min(connections_max, soft - FILES_BESIDE_CONNECTIONS))


def probe_address(address: Address, option: str) -> None:
    """Refuses an address that somebody listens on.

    The engine's listeners share their port (SO_REUSEPORT), so a second node of the same user would
    bind without an error and take half of the connections. A plain socket sees the conflict.

    Raises:
        AddressInUse: it is taken.
        StartError: it is not an address of this machine, or not allowed.
    """
    if address.port == 0:
        return
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address.host, address.port))
            probe.listen(1)
        except OSError as error:
            raise describe_bind_error(error, address, option) from error


def describe_bind_error(error: OSError, address: Address, option: str) -> StartError:
    """The failure to bind as a sentence with the way out."""
    text = str(address)
    if error.errno == errno.EADDRINUSE:
        other = format_address(address.host, address.port + 10 if address.port < 65_000 else 8090)
        owner = find_port_owner(address.port)
        by_whom = f" by {owner}" if owner else ""
        return AddressInUse(
            f"port {address.port} on `{address.host}` is in use{by_whom}",
            address=text,
            option=option,
            hint=f"stop the other program, or choose another port with `{option} {other}`",
        )
    if error.errno == errno.EACCES:
        hint = "ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher one"
    elif error.errno == errno.EADDRNOTAVAIL:
        hint = "no interface of this machine has that address"
    else:
        hint = f"choose another address with `{option} HOST:PORT`"
    return StartError(f"cannot listen on `{text}`: {os.strerror(error.errno or 0)}", hint=hint)
