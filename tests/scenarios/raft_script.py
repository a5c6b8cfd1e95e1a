"""Runs a Raft story: every command is followed by what it made the group do.

    # a comment
    > propose 1 x
    1>2 Append t2 prev 2/2 entries 3 commit 2

Owns the language. Output is compared word for word. To write it anew after a wanted
change, run `python -m tests.scenarios.raft_script FILE...` and read the difference.

Commands: group, elect, campaign, tick, settle, deliver, copy, lose, cut, heal, propose, read, change,
transfer, hold, write, crash, restart, compact, add, log, status.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from neuro.raft import Change, ChangeKind, EntryKind, Message, Options, RaftError
from neuro.raft import messages as m
from tests.raft_group import Group

_KINDS = {
    "voter": ChangeKind.ADD_VOTER,
    "learner": ChangeKind.ADD_LEARNER,
    "promotable": ChangeKind.ADD_LEARNER,
    "witness": ChangeKind.ADD_WITNESS,
    "remove": ChangeKind.REMOVE,
    "demote": ChangeKind.DEMOTE,
}


class Story:
    """One group, driven by text."""

    def __init__(self) -> None:
        self.group = Group()
        self.names: dict[int, str] = {}
        self._seen: dict[int, tuple[str, int, int, int, int]] = {}

    def run(self, line: str) -> str:
        """Performs one command; returns what happened, a line each."""
        name, *words = line.split()
        self.group.sent.clear()
        act: Callable[..., str | None] = getattr(self, f"_do_{name}")
        try:
            answer = act(*words)
        except RaftError as error:
            answer = f"{error.code}: {error.message}"
        lines = [answer] if answer else []
        if name != "settle":
            lines += [describe(message) for message in self.group.sent]
        lines += self._changes()
        return "\n".join(lines)

    def _changes(self) -> list[str]:
        lines = []
        for member, place in self.group.members.items():
            node = place.node
            if node is None:
                continue
            now = (node.role.name.lower(), node.term, node.leader, node.commit_index, 0)
            if self._seen.get(member) != now:
                self._seen[member] = now
                lines.append(f"{member} is {now[0]} t{now[1]} leader {now[2]} commit {now[3]}")
            lines += [
                f"{member} read {self.names.get(read.request, '?')}"
                f" {read.code.name.lower()} at {read.index}"
                for read in place.reads
            ]
            lines += [
                f"{member} proposal {self.names.get(state.request, '?')}"
                f" {state.code.name.lower()} t{state.term} at {state.first_index}"
                for state in place.proposals
            ]
            place.reads.clear()
            place.proposals.clear()
        return lines

    def _do_group(self, *words: str) -> str:
        sets: dict[str, tuple[int, ...]] = {}
        numbers: dict[str, int] = {}
        for word in words:
            key, _, value = word.partition("=")
            if key in ("voters", "learners", "witnesses"):
                sets[key] = tuple(int(item) for item in value.split(","))
            else:
                numbers[key] = int(value)
        options = Options(**numbers)  # type: ignore[arg-type]
        self.group = Group(
            sets.get("voters", (1, 2, 3)),
            learners=sets.get("learners", ()),
            witnesses=sets.get("witnesses", ()),
            options=options,
        )
        self._seen = {}
        self._changes()
        return ""

    def _do_elect(self, member: str) -> None:
        self.group.elect(int(member))
        self.group.sent.clear()

    def _do_campaign(self, member: str) -> None:
        self.group.node(int(member)).campaign(self.group.now)
        self.group.pump(int(member))

    def _do_tick(self, ms: str, *members: str) -> None:
        self.group.pass_time(int(ms), [int(member) for member in members] or None)

    def _do_settle(self) -> None:
        self.group.settle()

    def _do_deliver(self, *links: str) -> None:
        for link in links:
            sender, _, to = link.partition(">")
            self.group.deliver_between(int(sender), int(to))

    def _do_copy(self, link: str) -> None:
        """Delivers what is pending on a link, and leaves it there to arrive again."""
        sender, _, to = link.partition(">")
        for message in [*self.group.pending]:
            if (message.sender, message.to) == (int(sender), int(to)):
                self.group.deliver(message)

    def _do_lose(self) -> str:
        lost = len(self.group.pending)
        self.group.pending.clear()
        return f"{lost} messages lost"

    def _do_cut(self, left: str, right: str) -> None:
        for a in left.split(","):
            for b in right.split(","):
                self.group.cut.update({(int(a), int(b)), (int(b), int(a))})

    def _do_heal(self) -> None:
        self.group.heal()

    def _do_propose(self, member: str, *payloads: str) -> None:
        node = self.group.node(int(member))
        request = node.propose([payload.encode() for payload in payloads], self.group.now)
        self.names[request] = payloads[0]
        self.group.pump(int(member))

    def _do_read(self, member: str, name: str) -> None:
        request = self.group.node(int(member)).read_index(self.group.now)
        self.names[request] = name
        self.group.pump(int(member))

    def _do_change(self, member: str, *words: str) -> None:
        changes = []
        for word in words:
            kind, _, node = word.partition("=")
            changes.append(Change(_KINDS[kind], int(node), promote=kind == "promotable"))
        self.group.change(int(member), *changes)

    def _do_transfer(self, member: str, target: str) -> None:
        self.group.node(int(member)).transfer_leadership(int(target), self.group.now)
        self.group.pump(int(member))

    def _do_hold(self, member: str) -> None:
        self.group.members[int(member)].is_disk_held = True

    def _do_write(self, member: str) -> None:
        self.group.members[int(member)].is_disk_held = False
        self.group.finish_writes(int(member))
        self.group.pump(int(member))

    def _do_crash(self, member: str) -> None:
        self.group.crash(int(member))
        self._seen.pop(int(member), None)

    def _do_restart(self, member: str) -> None:
        self.group.restart(int(member))
        self.group.pump(int(member))

    def _do_compact(self, member: str) -> None:
        self.group.compact(int(member))

    def _do_add(self, member: str) -> None:
        self.group.add(int(member))

    def _do_log(self, member: str) -> str:
        store = self.group.node(int(member))._core.log.store
        entries = store.entries(store.base_index + 1, store.last_index, 1 << 62)
        words = [f"base {store.base_index}"]
        for entry in entries:
            text = entry.data.decode() if entry.kind is EntryKind.COMMAND else ""
            words.append(f"{entry.index}/{entry.term}:{text or entry.kind.name.lower()}")
        return " ".join(words)

    def _do_status(self) -> str:
        lines = []
        for member, place in self.group.members.items():
            if place.node is None:
                lines.append(f"{member} down")
                continue
            node = place.node
            c = node.configuration
            sets = f"{c.voters}" + (f"&{c.outgoing}" if c.outgoing else "")
            lines.append(
                f"{member} {node.role.name.lower()} t{node.term} leader {node.leader}"
                f" commit {node.commit_index} last {node.last_index}"
                f" voters {sets} learners {c.learners}"
            )
        return "\n".join(lines)


def describe(message: Message) -> str:
    """One message in one line."""
    head = f"{message.sender}>{message.to} {type(message).__name__} t{message.term}"
    if isinstance(message, m.Append):
        span = ""
        if message.entries:
            first, last = message.entries[0].index, message.entries[-1].index
            span = f" entries {first}" if first == last else f" entries {first}..{last}"
        previous = f"{message.prev_index}/{message.prev_term}"
        return f"{head} prev {previous}{span} commit {message.commit}"
    if isinstance(message, m.AppendReply):
        if message.rejected:
            hint = f"{message.hint_index}/{message.hint_term}"
            return f"{head} rejects {message.rejected_index} hint {hint}"
        return f"{head} match {message.match_index}"
    if isinstance(message, (m.PreVote, m.RequestVote)):
        forced = " transfer" if isinstance(message, m.RequestVote) and message.transfer else ""
        return f"{head} last {message.last_index}/{message.last_term}{forced}"
    if isinstance(message, (m.PreVoteReply, m.VoteReply)):
        return f"{head} {'granted' if message.granted else 'refused'}"
    if isinstance(message, m.Heartbeat):
        return f"{head} commit {message.commit} round {message.round}"
    if isinstance(message, m.InstallSnapshot):
        return f"{head} at {message.snapshot.index}/{message.snapshot.term}"
    if isinstance(message, m.ReadReply):
        return f"{head} {message.code.name.lower()} at {message.index}"
    return head


def replay(text: str) -> str:
    """The story told again: comments and commands kept, output as it is now."""
    story = Story()
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("> "):
            lines.append(line)
            answer = story.run(line[2:])
            if answer:
                lines.append(answer)
        elif line.startswith("#") or not line.strip():
            lines.append(line)
    return "\n".join(lines).strip() + "\n"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(replay(path.read_text()))
