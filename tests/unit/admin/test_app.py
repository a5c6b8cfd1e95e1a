"""The admin port's routes, through a real socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest_asyncio

from neuro.admin.server import AdminServer
from neuro.units import Address

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class FakeView:
    """A node with a switch."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def find_unready_reasons(self) -> list[str]:
        return self.reasons

    def describe(self) -> dict[str, Any]:
        return {"id": "1"}

    def render_metrics(self) -> bytes:
        return b"x_total 1\n"


class Admin:
    """A running admin port and its node."""

    def __init__(self) -> None:
        self.view = FakeView()
        self.server = AdminServer(self.view)
        self.url = ""

    async def get(self, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(self.url + path, headers=headers)


@pytest_asyncio.fixture
async def admin() -> AsyncIterator[Admin]:
    admin = Admin()
    address = admin.server.bind(Address("127.0.0.1", 0))
    admin.url = f"http://{address}"
    await admin.server.start()
    yield admin
    await admin.server.stop()


async def test_health_is_only_that_the_loop_runs(admin: Admin) -> None:
    admin.view.reasons = ["draining"]
    answer = await admin.get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


async def test_readiness_gives_503_with_reasons(admin: Admin) -> None:
    answer = await admin.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"ready": True, "reasons": []})
    admin.view.reasons = ["draining"]
    answer = await admin.get("/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["draining"])


async def test_metrics_and_status_are_given(admin: Admin) -> None:
    answer = await admin.get("/metrics")
    assert answer.text == "x_total 1\n"
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert json.loads((await admin.get("/api/v1/status")).text) == {"id": "1"}


async def test_the_page_needs_nothing_from_elsewhere(admin: Admin) -> None:
    page = await admin.get("/")
    assert "<title>NeuroCache</title>" in page.text
    for path in ("/status.css", "/status.js"):
        answer = await admin.get(path)
        assert answer.status_code == 200
        assert "//" not in answer.text.replace("// ", "")
    assert "http:" not in page.text
    assert "https:" not in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "<style" not in page.text
    assert " style=" not in page.text


async def test_a_foreign_name_cannot_read_a_loopback_port(admin: Admin) -> None:
    for host in ("evil.example", "evil.example:9001", "127.0.0.1.evil.example"):
        assert (await admin.get("/api/v1/status", host=host)).status_code == 421
    for host in ("localhost:9001", "127.0.0.1", "[::1]:9001"):
        assert (await admin.get("/api/v1/status", host=host)).status_code == 200


async def test_unknown_paths_and_methods_are_refused(admin: Admin) -> None:
    assert (await admin.get("/nothing")).status_code == 404
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(admin.url + "/readyz")).status_code == 405


async def test_stopping_twice_is_fine_and_frees_the_port(admin: Admin) -> None:
    await admin.server.stop()
    await admin.server.stop()
    port = int(admin.url.rpartition(":")[2])
    again = AdminServer(admin.view)
    again.bind(Address("127.0.0.1", port))
    await again.stop()
