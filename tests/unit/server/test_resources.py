"""What a node takes from the machine, and how conflicts are named."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from neuro.errors import AddressInUse, StartError
from neuro.server.port_owner import find_port_owner
from neuro.server.resources import DataDirectory, describe_bind_error, probe_address
from neuro.units import Address

if TYPE_CHECKING:
    from pathlib import Path


def test_a_data_directory_belongs_to_one_node(tmp_path: Path) -> None:
    first, second = DataDirectory(tmp_path / "a" / "b"), DataDirectory(tmp_path / "a" / "b")
    first.open()
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    with pytest.raises(StartError, match="in use by another node") as caught:
        second.open()
    assert "--data" in caught.value.hint
    first.close()
    first.close()
    second.open()
    second.close()


def test_a_data_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="cannot be used"):
        DataDirectory(tmp_path / "file").open()


def test_a_port_shared_by_its_owner_is_still_taken() -> None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = Address("127.0.0.1", listener.getsockname()[1])
        with pytest.raises(AddressInUse) as caught:
            probe_address(address, "--edge")
    assert caught.value.address == str(address)
    assert f"in use by pid {os.getpid()} (" in caught.value.message
    assert str(address.port) in caught.value.message
    assert "--edge 127.0.0.1:" in caught.value.hint
    probe_address(address, "--edge")


def test_other_reasons_not_to_bind_are_told_apart() -> None:
    for number, text in ((errno.EACCES, "1024"), (errno.EADDRNOTAVAIL, "no interface")):
        error = describe_bind_error(OSError(number, ""), Address("10.9.9.9", 80), "--edge")
        assert text in error.hint
        assert not isinstance(error, AddressInUse)


def test_the_file_limit_rises_to_what_connections_need() -> None:
    program = (
        "import resource as r\n"
        "from neuro.server.resources import raise_file_limit\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (256, 1000))\n"
        "print(raise_file_limit(100), r.getrlimit(r.RLIMIT_NOFILE)[0])\n"
        "print(raise_file_limit(9000), r.getrlimit(r.RLIMIT_NOFILE)[0])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["100", "612", "488", "1000"]


def test_a_port_without_owner_or_with_a_hidden_one_gives_nothing(tmp_path: Path) -> None:
    assert find_port_owner(8080, tmp_path) == ""
    (tmp_path / "net").mkdir()
    row = "0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1"
    (tmp_path / "net" / "tcp").write_text(f"header\n{row}\n", encoding="ascii")
    (tmp_path / "7").mkdir()
    assert find_port_owner(8080, tmp_path) == ""
    (tmp_path / "7" / "fd").mkdir()
    (tmp_path / "7" / "fd" / "3").symlink_to("socket:[4711]")
    (tmp_path / "7" / "comm").write_text("nginx\n", encoding="ascii")
    assert find_port_owner(8080, tmp_path) == "pid 7 (nginx)"
    assert find_port_owner(8081, tmp_path) == ""
