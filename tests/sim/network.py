"""The simulated network: loses, repeats, delays, reorders and cuts.

Owns what is under way between processes. Never looks into messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from neuro.raft import Message
from tests.sim.world import World


@dataclass
class Weather:
    """How bad the network is; probabilities in percent."""

    drop: int = 0
    duplicate: int = 0
    delay: int = 0
    corrupt: int = 0
    delay_ms_max: int = 400
    latency_ms_max: int = 4


class Network:
    """Links between every pair of processes, each direction on its own."""

    def __init__(self, world: World, deliver: Callable[[Message, bytes], None]) -> None:
        self.world = world
        self.deliver = deliver
        self.weather = Weather()
        self.cut: set[tuple[int, int]] = set()
        self.clogged: dict[tuple[int, int], int] = {}
        self._random = world.random("network")

    def send(self, message: Message, payload: bytes = b"") -> None:
        """Puts a message on its link."""
        link = (message.sender, message.to)
        world, weather, chance = self.world, self.weather, self._random
        if link in self.cut:
            world.counters["message_cut"] += 1
            return
        if weather.drop and chance.randrange(100) < weather.drop:
            world.counters["message_drop"] += 1
            return
        if weather.corrupt and chance.randrange(100) < weather.corrupt:
            # The frame's checksum turns corruption into loss.
            world.counters["message_corrupt"] += 1
            return
        copies = 1
        if weather.duplicate and chance.randrange(100) < weather.duplicate:
            world.counters["message_duplicate"] += 1
            copies = 2
        for _ in range(copies):
            world.at(self._arrival(link), self.deliver, message, payload)

    def heal(self) -> None:
        """Fair weather again."""
        self.cut.clear()
        self.clogged.clear()
        self.weather = Weather()

    def cut_between(self, left: Iterable[int], right: Iterable[int]) -> None:
        """Cuts every link between the two sides, both ways."""
        others = list(right)
        for a in left:
            for b in others:
                self.cut.add((a, b))
                self.cut.add((b, a))

    def _arrival(self, link: tuple[int, int]) -> int:
        weather, chance = self.weather, self._random
        time = self.world.now + 1 + chance.randrange(weather.latency_ms_max)
        if weather.delay and chance.randrange(100) < weather.delay:
            self.world.counters["message_delay"] += 1
            time += chance.randrange(weather.delay_ms_max)
        until = self.clogged.get(link, 0)
        if until > self.world.now:
            self.world.counters["message_clog"] += 1
            time = max(time, until + chance.randrange(20))
        return time
