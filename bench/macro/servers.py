"""The servers under comparison: how each is found, configured and started.

Owns one `Server` subclass each for the ceiling, nginx, Varnish, Traffic Server and NeuroCache, and
their generated configurations. Never measures. Every server runs as a child in the foreground, one
worker, pinned to one core, access log off, on loopback, with all its files in one temporary folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 5.0
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
"""Debian keeps servers below /usr/sbin, which is not in every user's PATH."""


def choose_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server(ABC):
    """One child process; `folder` is its own and may be removed after `stop()`."""

    folder: Path
    origin_port: int
    sizes: tuple[int, ...]
    core: int
    port: int = field(default_factory=choose_port)
    process: subprocess.Popen[bytes] | None = None

    name = "server"
    program = ""

    @classmethod
    def missing(cls) -> str:
        """What has to be installed first; empty when the server can run."""
        return (
            ""
            if shutil.which(cls.program, path=SEARCH_PATH)
            else f"`{cls.program}` is not installed"
        )

    @abstractmethod
    def command(self) -> list[str]:
        """Writes the configuration and gives the foreground command."""

    def environment(self) -> dict[str, str]:
        """Variables beside those of this process."""
        return {}

    def start(self) -> None:
        """Starts the child and waits until it accepts a connection.

        Raises:
            RuntimeError: it ended, or did not listen in time; the text ends with its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self.command()
        with (self.folder / "log.txt").open("wb") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(self.core), *command],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env={**os.environ, "PATH": SEARCH_PATH, **self.environment()},
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        tail = (self.folder / "log.txt").read_text(errors="replace")[-2000:]
        raise RuntimeError(f"{self.name} did not start: {tail}")

    def stop(self) -> None:
        """Ends the child and its whole process group."""
        if self.process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
            except ProcessLookupError:
                break
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                continue
        self.process = None

    @property
    def pid(self) -> int:
        """The process whose tree is measured."""
        assert self.process is not None, "not started"
        return self.process.pid


class Origin(Server):
    """The origin of all the others."""

    name = "origin"
    program = "taskset"

    def command(self) -> list[str]:
        """The small origin of this folder."""
        return [sys.executable, str(HERE / "origin.py"), str(self.port)]


class Ceiling(Server):
    """The bare epoll responder: what the kernel alone costs."""

    name = "ceiling"

    @classmethod
    def missing(cls) -> str:
        """Needs any C compiler."""
        return "" if _c_compiler() else "no C compiler (`gcc`, `cc` or the ziglang package)"

    def command(self) -> list[str]:
        """Compiles the responder into the folder."""
        binary = self.folder / "ceiling"
        subprocess.run(
            [*_c_compiler(), "-O2", "-pthread", "-o", str(binary), str(HERE / "ceiling.c")],
            check=True,
        )
        return [str(binary), str(self.port), "1", *map(str, self.sizes)]


def _c_compiler() -> list[str]:
    for name in ("gcc", "cc", "clang"):
        if found := shutil.which(name):
            return [found]
    probe = [sys.executable, "-m", "ziglang", "version"]
    if subprocess.run(probe, capture_output=True, check=False).returncode == 0:
        return [sys.executable, "-m", "ziglang", "cc"]
    return []


class Nginx(Server):
    """nginx with `proxy_cache`; its files lie in memory when the folder does."""

    name = "nginx"
    program = "nginx"

    def command(self) -> list[str]:
        """One worker, no access log, files opened once.

        Measured in one run: without sendfile it is cheaper up to 64 KiB (10.9 against 15.4 us at
        1 KiB), with sendfile at 1 MiB (237 against 277 us); each size gets what suits it.
        """
        config = self.folder / "nginx.conf"
        at = self.folder
        user = "user root;" if os.geteuid() == 0 else ""
        config.write_text(f"""
{user} daemon off; worker_processes 1; pid {self.folder}/nginx.pid;
error_log {self.folder}/error.log; worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
  access_log off; tcp_nopush off; output_buffers 4 128k;
  keepalive_requests 1000000000; keepalive_timeout 300s;
  open_file_cache max=1000 inactive=1h; open_file_cache_valid 1h;
  client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
  fastcgi_temp_path {at}/fastcgi; uwsgi_temp_path {at}/uwsgi; scgi_temp_path {at}/scgi;
  proxy_cache_path {at}/cache keys_zone=main:16m max_size=512m inactive=1h use_temp_path=off;
  upstream origin {{ server 127.0.0.1:{self.origin_port}; keepalive 16; }}
  server {{
    listen 127.0.0.1:{self.port} reuseport backlog=1024;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_cache main; proxy_cache_lock on;
    location ~ "^/[0-9]{{6,}}" {{ sendfile on; proxy_pass http://origin; }}
    location / {{ sendfile off; proxy_pass http://origin; }}
  }}
}}
""")
        return ["nginx", "-e", str(self.folder / "error.log"), "-c", str(config)]


class Varnish(Server):
    """Varnish with malloc storage."""

    name = "varnish"
    program = "varnishd"

    def command(self) -> list[str]:
        """One thread pool; threads enough for the most connections of a run."""
        config = self.folder / "main.vcl"
        config.write_text(
            f'vcl 4.1;\nbackend default {{ .host = "127.0.0.1"; .port = "{self.origin_port}"; }}\n'
        )
        parameters = ["thread_pools=1", "thread_pool_min=600", "thread_pool_max=2000"]
        options = [part for parameter in parameters for part in ("-p", parameter)]
        return [
            "varnishd", "-F", "-j", "none", "-f", str(config), "-a", f"127.0.0.1:{self.port}",
            "-n", str(self.folder / "work"), "-s", "malloc,512m", "-T", "none", *options,
        ]  # fmt: skip


class TrafficServer(Server):
    """Apache Traffic Server with its RAM cache, one event thread, in a run root of its own."""

    name = "trafficserver"
    program = "traffic_server"

    def environment(self) -> dict[str, str]:
        """The run root replaces every compiled-in folder."""
        return {"TS_RUNROOT": str(self.folder)}

    def command(self) -> list[str]:
        """Writes runroot.yaml and the five files that the server insists on."""
        folders = {
            "prefix": self.folder, "exec_prefix": self.folder, "bindir": Path("/usr/bin"),
            "sbindir": Path("/usr/bin"), "sysconfdir": self.folder / "etc",
            "datadir": self.folder / "share", "includedir": self.folder / "include",
            "libdir": Path("/usr/lib/trafficserver"),
            "libexecdir": Path("/usr/lib/trafficserver/modules"),
            "localstatedir": self.folder / "run", "runtimedir": self.folder / "run",
            "logdir": self.folder / "log", "mandir": self.folder / "man",
            "infodir": self.folder / "info", "cachedir": self.folder / "cache",
        }  # fmt: skip
        lines = "".join(f"{name}: {path}\n" for name, path in folders.items())
        (self.folder / "runroot.yaml").write_text(lines)
        for name in ("sysconfdir", "localstatedir", "logdir", "cachedir", "datadir"):
            folders[name].mkdir(exist_ok=True)
        etc = folders["sysconfdir"]
        (etc / "storage.config").write_text(f"{folders['cachedir']} 512M\n")
        (etc / "remap.config").write_text(f"map / http://127.0.0.1:{self.origin_port}/\n")
        (etc / "ip_allow.yaml").write_text(
            "ip_allow:\n  - {apply: in, ip_addrs: 0/0, action: allow, methods: ALL}\n"
        )
        (etc / "plugin.config").write_text("")
        (etc / "records.config").write_text(self._records())
        return ["traffic_server"]

    def _records(self) -> str:
        values: dict[str, int | str] = {
            "http.server_ports": f"{self.port}:ip-in=127.0.0.1",
            "exec_thread.autoconfig": 0, "exec_thread.limit": 1, "exec_thread.affinity": 4,
            "accept_threads": 1, "task_threads": 1, "cache.threads_per_disk": 2,
            "cache.ram_cache.size": 512 << 20, "cache.ram_cache_cutoff": 8 << 20,
            "log.logging_enabled": 0, "diags.debug.enabled": 0, "admin.user_id": "#-1",
            "url_remap.remap_required": 1, "reverse_proxy.enabled": 1,
            "http.cache.http": 1, "http.insert_response_via_str": 0, "http.wait_for_cache": 1,
            "http.keep_alive_no_activity_timeout_in": 300, "net.connections_throttle": 30000,
            "body_factory.enable_customizations": 0,
        }  # fmt: skip
        return "".join(
            f"CONFIG proxy.config.{name} {'INT' if isinstance(value, int) else 'STRING'} {value}\n"
            for name, value in values.items()
        )


class NeuroCache(Server):
    """NeuroCache itself, one edge thread."""

    name = "neurocache"
    program = "neurocache"

    @classmethod
    def _program(cls) -> str | None:
        beside = Path(sys.executable).parent / "neurocache"
        return str(beside) if beside.exists() else shutil.which("neurocache")

    @classmethod
    def missing(cls) -> str:
        """Looks beside the running Python first, as `make setup` installs it."""
        return "" if cls._program() else "`neurocache` is not built, run `make setup`"

    def command(self) -> list[str]:
        """The very command of the manual, with ports and folder of this run."""
        program = self._program()
        assert program is not None, "asked for missing() first"
        return [
            program, "serve", "--id", "1", "--threads", "1",
            "--origin", f"http://127.0.0.1:{self.origin_port}",
            "--edge", f"127.0.0.1:{self.port}", "--admin", f"127.0.0.1:{choose_port()}",
            "--memory", "512MiB", "--data", str(self.folder / "data"),
        ]  # fmt: skip


CEILING = Ceiling.name
OURS = NeuroCache.name
SERVERS: dict[str, type[Server]] = {
    kind.name: kind for kind in (Ceiling, NeuroCache, Nginx, Varnish, TrafficServer)
}
