"""Texts and exit codes of the program, without a node."""

from __future__ import annotations

import io
import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from rich.console import Console
from rich.text import Text

import neuro
from neuro.cli import admin_client, exit_codes
from neuro.cli.main import COMMANDS, main
from neuro.cli.serve import make_effective_table
from neuro.config import OPTIONS, load_config
from neuro.errors import AdminError
from neuro.units import Address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")


class OneAnswer:
    """A port that gives each caller the same bytes."""

    def __init__(self, data: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address(*self._listener.getsockname())
        self._data = data
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                if not connection.recv(4096):
                    return
                connection.sendall(self._data)

    def close(self) -> None:
        socket.create_connection(self.address).close()
        self._thread.join()
        self._listener.close()


@pytest.fixture
def ready_node() -> Iterator[OneAnswer]:
    body = b'{"ready": true, "reasons": []}'
    answer = OneAnswer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    yield answer
    answer.close()


@pytest.fixture
def draining_node() -> Iterator[OneAnswer]:
    body = b'{"ready": false, "reasons": ["draining"]}'
    answer = OneAnswer(b"HTTP/1.1 503 No\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    yield answer
    answer.close()


def test_help_lists_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == main(["--help"]) == exit_codes.OK
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in COMMANDS)
    assert all(meaning in text for meaning in exit_codes.MEANINGS.values())


@pytest.mark.parametrize("words", [["version"], ["--version"], ["-V"]])
def test_the_version_has_one_source(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == exit_codes.OK
    assert capsys.readouterr().out == f"neurocache {neuro.__version__}\n"


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["srve"]) == exit_codes.USAGE
    shown = capsys.readouterr()
    assert shown.err == "error: unknown command `srve`\n  try: neurocache serve\n"
    assert shown.out == ""


def test_every_option_has_its_flag_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--help"]) == exit_codes.OK
    text = capsys.readouterr().out
    assert all(f"{option.flag} " in text for option in OPTIONS)


def test_check_config_shows_values_with_their_sources(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "neurocache.toml").write_text("[edge]\nthreads = 2\n", encoding="utf-8")
    monkeypatch.setenv("NEUROCACHE_MEMORY", "64MiB")
    assert main(["serve", "--check-config", "--id", "2", "--insecure"]) == exit_codes.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "OK"
    rows = {words[0]: words[1:] for line in lines[2:] if (words := line.split())}
    assert rows["node.id"] == ["2", "--id"]
    assert rows["node.memory"] == ["64MiB", "NEUROCACHE_MEMORY"]
    assert rows["edge.threads"] == ["2", "neurocache.toml:2"]
    assert rows["node.insecure"] == ["true", "--insecure"]
    assert rows["admin.bind"] == ["127.0.0.1:9002", "default"]
    assert len(rows) == len(OPTIONS)


def test_on_a_terminal_bold_only_repeats_what_the_source_says(tmp_path: Path) -> None:
    table = make_effective_table(load_config({"--id": "2"}, {}, directory=tmp_path))
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=200, color_system="standard")
    console.print(table)
    rows = {line.split()[0]: line for line in Text.from_ansi(text.getvalue()).plain.splitlines()}
    assert rows["node.id"].split() == ["node.id", "2", "--id"]
    assert rows["admin.bind"].split() == ["admin.bind", "127.0.0.1:9002", "default"]
    bold = [line for line in text.getvalue().splitlines() if line.startswith("\033[1mnode")]
    assert len(bold) == 1


def test_check_config_never_shows_a_secret(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("very-secret-token-text", encoding="ascii")
    token.chmod(0o600)
    assert main(["serve", "--check-config", "--token-file", str(token)]) == exit_codes.OK
    shown = capsys.readouterr()
    assert "very-secret" not in shown.out + shown.err


def test_a_faulty_configuration_lists_all_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--id", "x", "--memory", "1", "--check-config"]) == exit_codes.USAGE
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line.split(":")[0].strip() for line in shown.err.splitlines()] == [
        "error",
        "--id",
        "--memory",
    ]


@pytest.mark.parametrize(
    "words", [["serve", "--bogus"], ["serve", "extra"], ["ctl", "--bogus"], ["ctl", "nothing"]]
)
def test_wrong_usage_exits_with_2(words: list[str]) -> None:
    try:
        code: object = main(words)
    except SystemExit as end:
        code = end.code
    assert code == exit_codes.USAGE


def test_health_speaks_by_its_exit_code(
    ready_node: OneAnswer, draining_node: OneAnswer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ctl", "health", "--admin", str(ready_node.address)]) == exit_codes.OK
    assert capsys.readouterr().out == "ready\n"
    assert main(["ctl", "health", "--admin", str(draining_node.address)]) == exit_codes.UNHEALTHY
    assert capsys.readouterr().out == "not ready: draining\n"


@pytest.mark.parametrize("output", ["plain", "table", "json"])
def test_every_output_format_works_for_health(
    ready_node: OneAnswer, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["ctl", "health", "--admin", str(ready_node.address), "-o", output]
    assert main(words) == exit_codes.OK
    text = capsys.readouterr().out
    if output == "json":
        assert json.loads(text) == {"ready": True, "reasons": []}
    else:
        assert "ready" in text.lower()


def test_nobody_listening_is_unreachable(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = Address(*listener.getsockname())
    assert main(["ctl", "health", "--admin", str(address)]) == exit_codes.UNREACHABLE
    shown = capsys.readouterr()
    assert shown.err.startswith(f"error: no node answers at `{address}`")
    assert "\n  try: " in shown.err


def test_a_silent_port_times_out(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = str(Address(*listener.getsockname()))
        assert main(["ctl", "status", "--admin", address, "--timeout", "50ms"]) == (
            exit_codes.TIMEOUT
        )
    assert "within 50ms" in capsys.readouterr().err


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (admin_client.ANSWER_BYTES_MAX + 1),
    ],
)
def test_another_kind_of_server_is_told_apart(data: bytes) -> None:
    server = OneAnswer(data)
    try:
        with pytest.raises(AdminError):
            admin_client.fetch(server.address, "/readyz", timeout_ms=5_000)
    finally:
        server.close()


def test_a_page_that_is_not_json_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    server = OneAnswer(b"HTTP/1.1 200 OK\r\n\r\n<html>")
    try:
        assert main(["ctl", "status", "--admin", str(server.address)]) == exit_codes.FAILED
    finally:
        server.close()
    assert "is not a node's admin port" in capsys.readouterr().err
