"""The member of the replicated store that runs in this node: its parts, and their order.

Owns disk, transport, driver and client API of one member, and the ticks that make the store's time
pass. Never decides anything about consensus. When the member ends itself (its disk failed), the
node is told through `ended`: it must not go on as if it still took part.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

from neuro.clock import SystemClock
from neuro.cluster.ca import CertificateError, TlsFiles, make_server_context
from neuro.cluster.client_api import ClientApi
from neuro.cluster.disk import DiskFull, RealDisk
from neuro.cluster.driver import Driver
from neuro.cluster.identity import load_identity
from neuro.cluster.machine import KeyValueMachine
from neuro.cluster.machine_clock import MachineClock
from neuro.cluster.replica import format_member_address
from neuro.cluster.storage import Founding
from neuro.cluster.transport import CarrierKind, Member, TransportSettings, make_transport
from neuro.errors import NeuroCacheError, StartError
from neuro.raft import Configuration
from neuro.server.resources import describe_bind_error

if TYPE_CHECKING:
    from pathlib import Path

    from neuro.cluster.disk import Disk
    from neuro.cluster.machine import Outcome
    from neuro.cluster.transport import MemberTransport
    from neuro.config import Config

_log = logging.getLogger("neuro.server")

DIRECTORY_NAME = "raft"


class ControlPlane:
    """One member; `start` once, then `stop` once."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._stack = contextlib.AsyncExitStack()
        self._clock = SystemClock()
        self._machine = KeyValueMachine()
        self._driver: Driver[Outcome] | None = None
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.raft_address = config.cluster.raft_bind
        self.client_address = str(config.cluster.client_bind)

    async def start(self) -> None:
        """Opens the data, listens, and takes part; there may be no leader yet.

        Raises:
            StartError: an address, a certificate or the data can not be used, and why.
        """
        async with contextlib.AsyncExitStack() as stack:
            await self._start_parts(stack)
            self._stack = stack.pop_all()

    async def stop(self) -> None:
        """Hands leadership to nobody: the others notice within an election timeout."""
        await self._stack.aclose()

    async def _start_parts(self, stack: contextlib.AsyncExitStack) -> None:
        config = self._config.cluster
        directory = self._config.node.data_dir / DIRECTORY_NAME
        tls = self._tls_files()
        try:
            context = make_server_context(tls) if tls is not None else None
            disk = RealDisk(directory)
            transport = make_transport(self._settings(disk, tls))
            driver = self._driver = await self._start_driver(disk, transport)
        except StartError:
            raise
        except CertificateError as error:
            raise StartError(
                error.message, hint="make certificates with `neurocache ctl ca issue`"
            ) from error
        except DiskFull as error:
            raise StartError(f"no room in `{directory}`: {error.message}") from error
        except NeuroCacheError as error:
            raise StartError(
                f"the data in `{directory}` can not be used: {error.message}"
            ) from error
        stack.push_async_callback(driver.close)
        self.raft_address = transport.address
        api = ClientApi(driver, self._machine)
        stack.push_async_callback(api.close)
        try:
            host, port = await api.start(
                config.client_bind.host, config.client_bind.port, tls=context
            )
        except OSError as error:
            raise describe_bind_error(error, config.client_bind, "--client-bind") from error
        self.client_address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        clock = MachineClock(driver, self._machine, self._clock)
        clock.start()
        stack.push_async_callback(clock.close)
        driver.ended.add_done_callback(self._note_end)

    async def _start_driver(self, disk: Disk, transport: MemberTransport) -> Driver[Outcome]:
        config = self._config
        founding = Founding(
            config.cluster.name,
            config.node.id,
            self._founders(),
            lambda: KeyValueMachine().snapshot(),
        )
        seeds = {peer.node: _address_of(peer) for peer in config.cluster.peers or ()}
        seeds.pop(config.node.id, None)
        try:
            return await Driver.start(disk, founding, self._machine, transport, seeds=seeds)
        except OSError as error:
            await transport.close()
            bind = config.cluster.raft_bind
            if error.filename is None:
                raise describe_bind_error(error, bind, "--raft-bind") from error
            raise StartError(f"`{error.filename}` can not be used: {error.strerror}") from error

    def _founders(self) -> Configuration | None:
        """The configuration every founder begins with; it must be the same on each."""
        config = self._config
        if config.cluster.join:
            return None
        peers = config.cluster.peers
        if not peers:
            raft, client = config.cluster.raft_bind, config.cluster.client_bind
            # A port that the kernel chooses is another one after a restart: nobody is told it.
            known = raft.port and client.port
            address = format_member_address(str(raft), str(client)) if known else ""
            return Configuration(
                voters=(config.node.id,), addresses=((config.node.id, address),) if known else ()
            )
        return Configuration(
            voters=tuple(peer.node for peer in peers),
            addresses=tuple((peer.node, _address_of(peer)) for peer in peers),
        )

    def _settings(self, disk: Disk, tls: TlsFiles | None) -> TransportSettings:
        config = self._config
        own = [peer for peer in config.cluster.peers or () if peer.node == config.node.id]
        identity = load_identity(disk)
        # The driver raises it when it opens the directory; nobody else can, it is locked.
        incarnation = (identity.incarnation if identity is not None else 0) + 1
        return TransportSettings(
            Member(config.cluster.name, config.node.id, incarnation),
            config.cluster.raft_bind,
            advertise=str(own[0].raft) if own else "",
            tls=tls,
            is_insecure=config.node.insecure,
            carrier=CarrierKind(config.cluster.transport),
        )

    def _tls_files(self) -> TlsFiles | None:
        config = self._config.cluster
        files = (config.tls_ca_file, config.tls_certificate_file, config.tls_key_file)
        found: list[Path] = [file for file in files if file is not None]
        return TlsFiles(*found) if len(found) == len(files) else None

    def _note_end(self, ended: asyncio.Future[str]) -> None:
        if not self.ended.done() and not ended.cancelled():
            self.ended.set_result(ended.result())


def _address_of(peer: Any) -> str:
    return format_member_address(str(peer.raft), str(peer.client))
