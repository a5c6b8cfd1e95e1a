"""Bugs of snapshots, disks and client semantics, each as an edit of the source.

Owns the texts. Never the hunt. The number is the line of the list of failures.
"""

from __future__ import annotations

from tests.sim.mutants.mutant import Edit, Mutant, plant_core, plant_shell

STORAGE = (
    plant_shell(
        51,
        "a member with an exchanged disk votes",
        "process",
        "        self.is_wiped = True",
        "        self.disk = Disk(Image(EMPTY_BASE))",
    ),
    plant_core(
        52,
        "promotion needs entries after the snapshot",
        "membership",
        "        if is_alive and progress.is_streaming and",
        "        if is_alive and progress.is_streaming and len(progress.inflight) and",
    ),
    plant_core(
        53,
        "two voters change in one simple step",
        "configuration",
        "simple = len(before ^ self.voters) <= 1",
        "simple = len(before ^ self.voters) <= 2",
    ),
    plant_core(
        55,
        "writes older than a snapshot count after it",
        "log",
        "        self._writes = deque((number, 0) for number, _ in self._writes)\n",
        "",
    ),
    plant_core(
        56,
        "a crash between snapshot and log reset",
        "node",
        "        if snapshot is not None and store.term_at(snapshot.index) != snapshot.term:",
        "        if snapshot is not None and store.last_index < 0:",
    ),
    plant_core(
        57,
        "a conflicting log survives a snapshot",
        "replication",
        "    if log.matches(snapshot.index, snapshot.term):",
        "    if log.last_index >= snapshot.index:",
    ),
    Mutant(
        58,
        "a second snapshot is installed again",
        (
            Edit(
                "neuro.raft.replication",
                "    if snapshot.index <= log.commit_index:",
                "    if snapshot.index < 0:",
            ),
            Edit(
                "neuro.raft.replication",
                "    if log.matches(snapshot.index, snapshot.term):",
                "    if log.matches(snapshot.index, snapshot.term) and "
                "log.commit_index < snapshot.index:",
            ),
        ),
    ),
    plant_core(
        60,
        "a lost snapshot is never offered again",
        "replication",
        "            if is_snapshot and core.now - progress.snapshot_sent_ms > timeout_ms:",
        "            if is_snapshot and progress.snapshot_sent_ms < 0:",
    ),
    plant_shell(
        61,
        "a snapshot names the wrong index",
        "process",
        "self.node.note_snapshot(self.machine.applied_index)",
        "self.node.note_snapshot(self.machine.applied_index - 1)",
    ),
    plant_shell(
        67,
        "a failed sync is tried again",
        "process",
        '            self.world.counters["disk_eio_fsync"] += 1\n            self.crash()\n'
        "            return\n",
        "            self.disk.batch.clear()\n",
    ),
    plant_core(
        70,
        "a truncated write is acknowledged late",
        "log",
        "        self._writes = deque((number, min(last, index - 1)) "
        "for number, last in self._writes)\n",
        "",
    ),
    plant_shell(
        72,
        "a retry is executed again",
        "machine",
        "        if command.sequence <= sequence:",
        "        if command.sequence < sequence:",
    ),
    plant_shell(
        73,
        "sessions are not in the snapshot",
        "machine",
        "        machine.sessions = {client: (seq, result) for client, (seq, result) in sessions}\n",
        "",
    ),
    plant_core(
        74,
        "a forwarded proposal is passed on",
        "proposals",
        "        code = Code.NOT_LEADER\n    else:",
        "        code = Code.NOT_LEADER\n"
        "        if core.leader not in (NOBODY, message.sender):\n"
        "            core.send(Propose(core.id, core.leader, core.term, message.request,\n"
        "                              message.payloads))\n            return\n    else:",
    ),
    plant_shell(
        75,
        "an unknown outcome is reported as refused",
        "desk",
        "            for _, _, reply in self._waiting[index]:\n"
        '                reply("unknown", "")',
        "            for _, _, reply in self._waiting[index]:\n"
        '                reply("refused", "")',
    ),
    plant_core(
        76,
        "waiting reads are forgotten on step-down",
        "election",
        "    reading.fail_pending(core)\n",
        "    core.reads_waiting.clear()\n    core.reads_pending.clear()\n    core.read_count = 0\n",
    ),
    plant_shell(
        77,
        "compare-and-set is not decided at apply",
        "machine",
        '            return "differs"',
        '            self.data[command.key] = command.value\n            return "differs"',
    ),
    plant_shell(
        78,
        "followers do not apply",
        "machine",
        "        result = self._execute(command)",
        '        result = self._execute(command) if self.chain % 7 else "ok"',
    ),
)
