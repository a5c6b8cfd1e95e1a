"""Sending a snapshot: its own channel, one per peer, resumed where the receiver stopped.

Owns one outgoing transfer. Never reads a snapshot's content. It may be slow for minutes while
messages overtake it on the other channel.
"""

from __future__ import annotations

import asyncio
import logging

from neuro.cluster.peers import SnapshotSource
from neuro.cluster.transport.channel import Channel
from neuro.cluster.transport.dialog import Dialog, Hub
from neuro.cluster.transport.errors import PeerRefused, TransportError
from neuro.cluster.transport.frames import (
    Frame,
    Lane,
    decode_done,
    decode_offset,
    decode_refusal,
)
from neuro.errors import FrameError, UnitError
from neuro.raft import NodeId

_log = logging.getLogger("neuro.cluster.transport")


class SnapshotSender:
    """One transfer; `run` once, then `close`."""

    def __init__(self, hub: Hub, peer: NodeId, address: str, source: SnapshotSource) -> None:
        self._hub = hub
        self._peer = peer
        self._address = address
        self._source = source
        self.digest = source.offer.digest
        self._answers: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._room = asyncio.Event()
        self._dialog = Dialog(
            hub,
            peer,
            on_room=self._room.set,
            on_end=self._on_end,
            on_frame=self._answers.put_nowait,
        )

    async def run(self) -> bool:
        """Sends everything; whether the receiver has it and found it right."""
        try:
            await self._run()
        except (OSError, FrameError, TransportError, UnitError) as error:
            if isinstance(error, TimeoutError):
                self._hub.carrier.forget(self._peer)
            _log.warning(
                "a snapshot was not delivered",
                extra={"peer": self._peer, "reason": str(error) or "no progress in time"},
            )
            return False
        return True

    def close(self) -> None:
        """Lets go of the file and the channel."""
        self._source.close()
        self._dialog.abort()

    async def _run(self) -> None:
        hub, limits = self._hub, self._hub.limits
        step_s = limits.snapshot_step_timeout_ms / 1_000
        offer = self._source.offer
        receiver = await self._dialog.open(self._address, Lane.SNAPSHOT)
        channel = self._dialog.channel
        if channel is None:
            raise TransportError("the connection ended")

        channel.write(hub.sealer.offer(offer))
        offset = decode_offset(await self._answer(step_s), receiver)
        while offset < offer.size_bytes:
            data = self._source.read(offset, limits.snapshot_part_bytes)
            if not data:
                raise TransportError("the snapshot file ended early")
            channel.write(hub.sealer.part(offset, data))
            offset += len(data)
            await self._wait_for_room(channel, step_s)
        channel.write(hub.sealer.end())
        decode_done(await self._answer(limits.snapshot_finish_timeout_ms / 1_000), receiver)

    def _on_end(self, _dialog: Dialog, _error: Exception) -> None:
        self._room.set()
        self._answers.put_nowait(None)

    async def _answer(self, timeout_s: float) -> Frame:
        async with asyncio.timeout(timeout_s):
            frame = await self._answers.get()
        if frame is None:
            raise self._dialog.end or TransportError("the connection ended")
        reason = decode_refusal(frame)
        if reason is not None:
            text = f"node {self._peer} refuses the snapshot: {reason}"
            raise PeerRefused(text, reason=reason, peer=self._peer)
        return frame

    async def _wait_for_room(self, channel: Channel, timeout_s: float) -> None:
        """Also lets the loop do other things between two parts when there is room."""
        await asyncio.sleep(0)
        while channel.is_full and self._answers.empty():
            self._room.clear()
            async with asyncio.timeout(timeout_s):
                await self._room.wait()
        if not self._answers.empty():
            # Only a refusal, or the end of the channel, comes before all parts were sent.
            await self._answer(timeout_s)
            raise TransportError("an answer nobody asked for")
