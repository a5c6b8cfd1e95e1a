"""The loader: order of sources, and every fault with its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from neuro.config import OPTIONS, load_config
from neuro.errors import ConfigError
from neuro.units import Address

if TYPE_CHECKING:
    from pathlib import Path


def faults_of(
    directory: Path,
    text: str | None = None,
    flags: dict[str, str] | None = None,
    environ: dict[str, str] | None = None,
) -> tuple[str, ...]:
    if text is not None:
        (directory / "neurocache.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(flags or {}, environ or {}, directory=directory)
    return caught.value.faults


def test_nothing_set_gives_a_working_node_on_loopback(tmp_path: Path) -> None:
    config = load_config({}, {}, directory=tmp_path).config
    assert config.edge.bind == Address("127.0.0.1", 8080)
    assert config.admin.bind == Address("127.0.0.1", 9001)
    assert config.node.memory_bytes == 256 << 20
    assert config.cache.object_bytes_max == 64 << 20
    assert config.origin.url is None


def test_the_node_id_moves_the_default_ports_and_directory(tmp_path: Path) -> None:
    config = load_config({"--id": "3"}, {}, directory=tmp_path).config
    assert (config.edge.bind.port, config.admin.bind.port) == (8082, 9003)
    assert config.node.data_dir.parts[-2:] == (".neurocache", "node-3")


def test_flags_win_over_environment_over_file_over_default(tmp_path: Path) -> None:
    (tmp_path / "neurocache.toml").write_text(
        '[node]\nid = 2\nmemory = "16MiB"\n[edge]\nthreads = 3\n', encoding="utf-8"
    )
    environ = {"NEUROCACHE_ID": "4", "NEUROCACHE_MEMORY": "32MiB"}
    loaded = load_config({"--id": "5"}, environ, directory=tmp_path)
    sources = {value.option.path: value.source for value in loaded.values}
    assert loaded.config.node.id == 5
    assert loaded.config.node.memory_bytes == 32 << 20
    assert loaded.config.edge.threads == 3
    assert sources["node.id"] == "--id"
    assert sources["node.memory"] == "NEUROCACHE_MEMORY"
    assert sources["edge.threads"] == "neurocache.toml:5"
    assert sources["log.level"] == "default"


def test_every_fault_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    faults = faults_of(
        tmp_path,
        "[edge]\n"
        "thread = 2\n"
        'idle_timeout = "5"\n'
        "connections_max = true\n"
        "\n"
        "[chache]\n"
        "[node]\n"
        "id = 300\n",
        flags={"--memory": "12mb"},
        environ={"NEUROCACHE_ORIGN": "x"},
    )
    assert faults == (
        "neurocache.toml:2: unknown key `edge.thread`; did you mean `edge.threads`?",
        (
            "neurocache.toml:3: edge.idle_timeout: `5` is not a duration: write a whole number and a "
            "unit (`ms`, `s`, `m`, `h`, `d`), like `10s` or `1h30m`"
        ),
        "neurocache.toml:4: edge.connections_max: expected a whole number, found a boolean",
        "neurocache.toml:6: unknown section `chache`; did you mean `cache`?",
        "neurocache.toml:8: node.id: `300` is out of range: from 1 to 255",
        "environment: unknown variable `NEUROCACHE_ORIGN`; did you mean `NEUROCACHE_ORIGIN`?",
        (
            "--memory: node.memory: `12mb` is not a size: write a whole number and a unit, "
            "like `256MiB`, `64KiB` or `10MB`"
        ),
    )


def test_a_key_in_the_wrong_section_is_led_home(tmp_path: Path) -> None:
    assert faults_of(tmp_path, '[cache]\nmemory = "1GiB"\n') == (
        "neurocache.toml:2: unknown key `cache.memory`; did you mean `node.memory`?",
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[edge\n", "neurocache.toml:1: not valid TOML"),
        ("a = 1\na = 2\n", "neurocache.toml:2: not valid TOML"),
        ("origin = 'http://x'\n", "neurocache.toml:1: `origin` is a section"),
        ("[edge]\nthreads = '2'\n", "neurocache.toml:2: edge.threads: expected a whole number"),
        ("[log]\nlevel = 'loud'\n", "neurocache.toml:2: log.level: expected one of `trace`"),
        ("edge = {\n threads = 0 }\n", "neurocache.toml"),
        ("edge.threads = 0\n", "neurocache.toml:1: edge.threads: `0` is out of range"),
    ],
)
def test_a_fault_names_line_and_reason(tmp_path: Path, text: str, fault: str) -> None:
    assert faults_of(tmp_path, text)[0].startswith(fault)


def test_lines_are_right_after_strings_and_arrays_over_lines(tmp_path: Path) -> None:
    text = '[log]\nx = """\n[edge]\nthreads = 9\n"""\ny = [\n "[node]",\n]\n[edge]\nthreads = 0\n'
    faults = faults_of(tmp_path, text)
    assert [fault.split(": ")[0] for fault in faults] == [
        "neurocache.toml:2",
        "neurocache.toml:6",
        "neurocache.toml:10",
    ]


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config({}, {}, config_file=tmp_path / "none.toml", directory=tmp_path)
    assert caught.value.faults[0].startswith("--config: there is no file")
    assert faults_of(tmp_path, environ={"NEUROCACHE_CONFIG": "no.toml"})[0].startswith(
        "NEUROCACHE_CONFIG: there is no file"
    )


def test_the_first_file_found_is_read(tmp_path: Path) -> None:
    user = tmp_path / "xdg" / "neurocache"
    user.mkdir(parents=True)
    (user / "config.toml").write_text("[node]\nid = 7\n", encoding="utf-8")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}
    assert load_config({}, environ, directory=tmp_path).config.node.id == 7
    (tmp_path / "neurocache.toml").write_text("[edge]\nthreads = 2\n", encoding="utf-8")
    assert load_config({}, environ, directory=tmp_path).config.node.id == 1


def test_paths_in_a_file_start_at_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "conf"
    folder.mkdir()
    (folder / "c.toml").write_text("[node]\ndata_dir = 'state'\n", encoding="utf-8")
    loaded = load_config({}, {}, config_file=folder / "c.toml", directory=tmp_path)
    assert loaded.config.node.data_dir == folder / "state"
    loaded = load_config({"--data": "here"}, {}, directory=tmp_path)
    assert loaded.config.node.data_dir == tmp_path / "here"


def test_variables_of_kubernetes_and_of_the_build_are_not_options(tmp_path: Path) -> None:
    environ = {
        "NEUROCACHE_SERVICE_HOST": "10.0.0.1",
        "NEUROCACHE_PORT": "tcp://10.0.0.1:80",
        "NEUROCACHE_PORT_80_TCP_ADDR": "10.0.0.1",
        "NEUROCACHE_CC": "gcc",
    }
    assert load_config({}, environ, directory=tmp_path).config.node.id == 1


def test_listening_beyond_loopback_needs_a_word(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, flags={"--edge": "0.0.0.0:80", "--admin": "[::]:81"})
    assert len(faults) == 2
    assert all("--insecure" in fault for fault in faults)
    flags = {"--edge": "0.0.0.0:80", "--insecure": "true"}
    assert load_config(flags, {}, directory=tmp_path).config.edge.bind.host == "0.0.0.0"


def test_rules_over_more_than_one_option(tmp_path: Path) -> None:
    faults = faults_of(
        tmp_path,
        flags={
            "--edge": "127.0.0.1:7000",
            "--admin": "127.0.0.1:7000",
            "--origin": "http://127.0.0.1:7000",
            "--memory": "8MiB",
            "--object-bytes-max": "9MiB",
            "--cache-default-ttl": "1500ms",
            "--token-file": str(tmp_path),
        },
    )
    assert [fault.split(": ")[1] for fault in faults] == [
        "admin.bind",
        "cache.object_bytes_max",
        "cache.default_ttl",
        "origin.url",
        "objects.token_file",
    ]


def test_a_token_that_everybody_can_read_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("x" * 32, encoding="ascii")
    token.chmod(0o644)
    faults = faults_of(tmp_path, flags={"--token-file": str(token)})
    assert faults == (
        (
            f"--token-file: objects.token_file: `{token}` can be read by everybody; "
            f"run `chmod 600 {token}`"
        ),
    )
    token.chmod(0o600)
    loaded = load_config({"--token-file": str(token)}, {}, directory=tmp_path)
    assert loaded.config.objects.token_file == token


@pytest.mark.parametrize(
    "text",
    [
        "example.org",
        "ftp://x",
        "http://",
        "http://u:p@h",
        "http://h/path",
        "http://h:0",
        "http://h h",
    ],
)
def test_an_origin_is_scheme_and_host_only(tmp_path: Path, text: str) -> None:
    assert "is not an origin" in faults_of(tmp_path, flags={"--origin": text})[0]


def test_names_of_options_are_unique_and_formats_read_back(tmp_path: Path) -> None:
    assert len({option.path for option in OPTIONS}) == len(OPTIONS)
    assert len({option.flag for option in OPTIONS}) == len(OPTIONS)
    for value in load_config({}, {}, directory=tmp_path).values:
        if value.value is not None:
            assert value.option.kind.parse(value.option.format(value.value)) == value.value
