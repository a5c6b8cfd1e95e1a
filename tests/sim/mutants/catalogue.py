"""The planted bugs, one or more for each line of the list of failures that applies.

Owns the texts. `line` is the number of the failure in the list of 82 that happened to real
systems; lines about files, chunked transfers, watches and leases belong to the I/O shell.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """One replacement; `old` occurs exactly once in the module."""

    module: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A planted bug."""

    line: int
    name: str
    edits: tuple[Edit, ...]


def _raft(line: int, name: str, module: str, old: str, new: str) -> Mutant:
    return Mutant(line, name, (Edit(f"neuro.raft.{module}", old, new),))


def _shell(line: int, name: str, module: str, old: str, new: str) -> Mutant:
    return Mutant(line, name, (Edit(f"tests.sim.{module}", old, new),))


MUTANTS = (
    _raft(
        0,
        "witnesses may be the majority",
        "configuration",
        "        if len(self.witnesses) > len(self.voters) // 2:",
        "        if not self.voters:",
    ),
    _raft(
        0,
        "a witness runs ahead of the leader's disk",
        "replication",
        "min(last, log.stable_index) if peer in witnesses else last",
        "last",
    ),
    _raft(
        1,
        "vote leaves before it is durable",
        "election",
        "core.send_after_persist(VoteReply(",
        "core.send(VoteReply(",
    ),
    _raft(
        2,
        "term is forgotten at restart",
        "core",
        "self.term: Term = hard_state.term",
        "self.term: Term = log.last_term",
    ),
    _raft(
        3,
        "vote is erased on every step-down",
        "election",
        "        core.term = term\n        core.vote = NOBODY\n    if core.role",
        "        core.term = term\n    core.vote = NOBODY\n    if core.role",
    ),
    _raft(
        4,
        "logs are compared by length",
        "log",
        "return (term, index) >= (self.last_term, self.last_index)",
        "return index >= self.last_index",
    ),
    _raft(
        5,
        "older terms are committed by counting",
        "replication",
        " and log.store.term_at(agreed) == core.term",
        "",
    ),
    _raft(
        6,
        "commit index goes back",
        "log",
        "if index <= self.commit_index:\n            return False",
        "if index == self.commit_index:\n            return False",
    ),
    _raft(
        7,
        "match index goes back",
        "progress",
        "        if is_news:\n            self.match_index = match",
        "        self.match_index = match",
    ),
    _raft(
        8,
        "next index falls to match",
        "progress",
        "max(min(rejected, hint + 1), self.match_index + 1)",
        "min(rejected, hint + 1)",
    ),
    _raft(
        9,
        "quorum from an unsorted list",
        "quorum",
        "sorted([values.get(node, 0) for node in voters], reverse=True)",
        "[values.get(node, 0) for node in voters]",
    ),
    _raft(
        10,
        "a deposed leader rolls back",
        "election",
        "    core.progress.clear()\n    core.round_started_ms.clear()",
        "    if core.log.last_index > core.log.commit_index:\n"
        "        core.log.truncate_from(core.log.commit_index + 1)\n"
        "    core.progress.clear()\n    core.round_started_ms.clear()",
    ),
    _raft(
        11,
        "an empty append is not checked",
        "replication",
        "    if log.matches(message.prev_index, message.prev_term):",
        "    if not message.entries or log.matches(message.prev_index, message.prev_term):",
    ),
    _raft(
        12,
        "a stale append truncates",
        "log",
        "        return entries[-1].index\n",
        "        last = entries[-1].index\n"
        "        if self.commit_index <= last < self.last_index:\n"
        "            self.truncate_from(last + 1)\n"
        "        return last\n",
    ),
    _raft(
        13,
        "a compacted prev counts as conflict",
        "replication",
        "    if message.prev_index < log.commit_index:",
        "    if message.prev_index < log.store.base_index:\n"
        "        log.truncate_from(message.prev_index + 1)\n"
        "    if message.prev_index < log.commit_index:",
    ),
    _raft(
        15,
        "a follower acknowledges before its disk",
        "replication",
        "    core.send_after_persist(AppendReply(core.id, leader, core.term, match, round_))",
        "    core.send(AppendReply(core.id, leader, core.term, match, round_))",
    ),
    _raft(
        16,
        "a leader counts itself before its disk",
        "replication",
        'core.peer_values("match_index", log.stable_index)',
        'core.peer_values("match_index", log.last_index)',
    ),
    _shell(
        17,
        "the shell sends before it writes",
        "process",
        "        for message in ready.messages:\n            self._send(message)",
        "        for message in (*ready.messages, *ready.messages_after_persist):\n"
        "            self._send(message)",
    ),
    _raft(
        18,
        "a rejected probe does not back off",
        "progress",
        "        self.next_index = max(min(rejected, hint + 1), self.match_index + 1)\n",
        "",
    ),
    Mutant(
        19,
        "a removed member is listened to",
        (
            Edit(
                "neuro.raft.core",
                "return self.now - self.leader_heard_ms < self.options.election_timeout_ms_min",
                "return False",
            ),
            Edit(
                "neuro.raft.core",
                "        if self.is_removed or self.log.has_withheld:",
                "        if self.log.has_withheld:",
            ),
        ),
    ),
    _raft(
        20,
        "no pre-vote: a cut-off member raises its term",
        "election",
        "    elif core.options.pre_vote:",
        "    elif not core.options.pre_vote:",
    ),
    _raft(
        21,
        "a deposed leader is not told of the newer term",
        "dispatch",
        "    elif isinstance(message, m.LEADER_MESSAGES):",
        "    elif message.term < 0:",
    ),
    Mutant(
        22,
        "pre-vote deadlock between log and term",
        (
            Edit(
                "neuro.raft.dispatch",
                "    if isinstance(message, m.PreVote):\n        is_removed",
                "    if isinstance(message, m.PreVote):\n        return\n        is_removed",
            ),
        ),
    ),
    _raft(
        23,
        "a pre-candidate does not count itself",
        "election",
        "core.votes = {core.id: True}",
        "core.votes = {}",
    ),
    Mutant(
        24,
        "a pre-candidate still believes in the old leader",
        (
            Edit(
                "neuro.raft.election",
                "    core.role = Role.PRE_CANDIDATE\n    core.leader = NOBODY\n",
                "    core.role = Role.PRE_CANDIDATE\n",
            ),
            Edit(
                "neuro.raft.core",
                "return self.now - self.leader_heard_ms < self.options.election_timeout_ms_min",
                "return self.leader != NOBODY",
            ),
        ),
    ),
    _raft(
        25,
        "a leader without a quorum stays",
        "election",
        "    if core.now - silent_since > core.options.election_timeout_ms_min:",
        "    if silent_since < 0:",
    ),
    _raft(
        26,
        "sending counts as hearing",
        "replication",
        "        commit = min(core.log.commit_index, progress.match_index)",
        "        progress.heard_ms = core.now\n"
        "        commit = min(core.log.commit_index, progress.match_index)",
    ),
    _raft(
        27,
        "a restarted follower waits for ever",
        "core",
        "        self.reset_election_deadline()\n\n    def reset",
        "        self.election_deadline_ms = 1 << 60\n\n    def reset",
    ),
    _raft(
        28,
        "a hung disk does not cost leadership",
        "transfer",
        "    if core.is_disk_stalled():\n        resign(core)",
        "    pass",
    ),
    _raft(
        30,
        "lost appends are never noticed",
        "replication",
        "        progress.must_poke = True",
        "        progress.must_poke = False",
    ),
    _raft(
        31,
        "a transfer's target asks for pre-votes",
        "transfer",
        "election.start_election(core, is_transfer=True)",
        "election.start_pre_vote(core)",
    ),
    _raft(
        32,
        "a failed transfer blocks proposals for ever",
        "transfer",
        "        core.transfer_target = NOBODY\n\n\ndef resign_if",
        "        pass\n\n\ndef resign_if",
    ),
    Mutant(
        33,
        "leadership is offered to learners",
        (
            Edit(
                "neuro.raft.transfer",
                "    if target == core.id or target not in configuration.voters:",
                "    if target == core.id or target not in configuration.members():",
            ),
            Edit(
                "neuro.raft.transfer",
                "    if not configuration.may_lead(target):\n        raise",
                "    if target in configuration.witnesses:\n        raise",
            ),
        ),
    ),
    _raft(
        35,
        "reads before the term's first commit",
        "reading",
        "    core.read_count += len(requests)\n"
        "    if core.log.commit_index < core.term_start_index:",
        "    core.read_count += len(requests)\n    if core.log.commit_index < 0:",
    ),
    _raft(
        36,
        "a leader answers reads by itself",
        "reading",
        "    core.reads_pending.append(read)\n    core.is_round_due = True",
        "    _answer(core, read, Code.OK)",
    ),
    _raft(
        37,
        "a read is confirmed by an older round",
        "reading",
        "core.log.commit_index, core.round + 1)",
        "core.log.commit_index, core.round)",
    ),
    _raft(
        38,
        "the lease outlives the election timeout",
        "options",
        "return self.election_timeout_ms_min * (100 - self.lease_drift_percent) // 100",
        "return self.election_timeout_ms_min * 4",
    ),
    Mutant(
        39,
        "the lease survives a transfer",
        (
            Edit(
                "neuro.raft.transfer",
                "        core.may_use_lease = False\n",
                "",
            ),
            Edit(
                "neuro.raft.reading",
                "if not core.may_use_lease or core.transfer_target != NOBODY:",
                "if not core.may_use_lease:",
            ),
        ),
    ),
    _shell(
        40,
        "a read does not wait for the applied index",
        "desk",
        "            elif machine.applied_index >= index:",
        "            elif machine.applied_index >= 0:",
    ),
    _raft(
        41,
        "one acknowledgement confirms a read",
        "reading",
        "    return quorum.quorum_value("
        'core.log.configuration, core.peer_values("acked_round", core.round))',
        '    return max(core.peer_values("acked_round", 0).values())',
    ),
    _raft(
        42,
        "members change before the term's first commit",
        "membership",
        "\n        or log.commit_index < core.term_start_index",
        "",
    ),
    _raft(
        43,
        "a second change while one is pending",
        "membership",
        "        log.configuration_index > log.commit_index\n        or log",
        "        log",
    ),
    _raft(
        44,
        "commitment ignores the outgoing half",
        "quorum",
        "    if configuration.outgoing:\n        agreed",
        "    if not configuration.voters:\n        agreed",
    ),
    _raft(
        44,
        "elections ignore the outgoing half",
        "quorum",
        "    if configuration.outgoing:\n        other",
        "    if not configuration.voters:\n        other",
    ),
    _raft(
        44,
        "configuration is not read back at restart",
        "log",
        "            self._note_kinds(held)",
        "            pass",
    ),
    _raft(
        45,
        "an uncommitted configuration survives a snapshot",
        "log",
        "        self._configurations = [(snapshot.index, snapshot.configuration)]",
        "        self._configurations = [\n"
        "            (snapshot.index, snapshot.configuration), self._configurations[-1]\n        ]",
    ),
    _raft(
        46,
        "compaction forgets the configuration",
        "log",
        "        in_force = self.configuration_at(index)",
        "        in_force = self._configurations[0][1]",
    ),
    _raft(
        47,
        "truncation keeps the configuration",
        "log",
        "        while self._configurations[-1][0] >= index:\n"
        "            self._configurations.pop()\n",
        "",
    ),
    _raft(
        48,
        "learners count in the quorum",
        "quorum",
        "    agreed = agreed_value(configuration.voters, values)",
        "    agreed = agreed_value(configuration.members(), values)",
    ),
    _raft(
        48,
        "learners campaign",
        "configuration",
        "return self.is_voter(node) and node not in self.witnesses",
        "return node in self.members() and node not in self.witnesses",
    ),
    _raft(
        49,
        "a removed leader stays",
        "membership",
        "        transfer.resign(core)",
        "        pass",
    ),
    _raft(
        49,
        "a removed follower is still sent entries",
        "election",
        "    core.progress = {}\n",
        "    core.progress = dict(known)\n",
    ),
    _raft(
        50,
        "a removed id comes back",
        "configuration",
        "        if node in self.removed:",
        "        if node in ():",
    ),
    _shell(
        51,
        "a member with an exchanged disk votes",
        "process",
        "        self.is_wiped = True",
        "        self.disk = Disk(Image(EMPTY_BASE))",
    ),
    _raft(
        52,
        "promotion needs entries after the snapshot",
        "membership",
        "        if is_alive and progress.is_streaming and",
        "        if is_alive and progress.is_streaming and len(progress.inflight) and",
    ),
    _raft(
        53,
        "two voters change in one simple step",
        "configuration",
        "simple = len(before ^ self.voters) <= 1",
        "simple = len(before ^ self.voters) <= 2",
    ),
    _raft(
        55,
        "writes older than a snapshot count after it",
        "log",
        "        self._writes = deque((number, 0) for number, _ in self._writes)\n",
        "",
    ),
    _raft(
        56,
        "a crash between snapshot and log reset",
        "node",
        "        if snapshot is not None and store.term_at(snapshot.index) != snapshot.term:",
        "        if snapshot is not None and store.last_index < 0:",
    ),
    _raft(
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
    _raft(
        60,
        "a lost snapshot is never offered again",
        "replication",
        "            if is_snapshot and core.now - progress.snapshot_sent_ms > timeout_ms:",
        "            if is_snapshot and progress.snapshot_sent_ms < 0:",
    ),
    _shell(
        61,
        "a snapshot names the wrong index",
        "process",
        "self.node.note_snapshot(self.machine.applied_index)",
        "self.node.note_snapshot(self.machine.applied_index - 1)",
    ),
    _shell(
        67,
        "a failed sync is tried again",
        "process",
        '            self.world.counters["disk_eio_fsync"] += 1\n            self.crash()\n'
        "            return\n",
        "            self.disk.batch.clear()\n",
    ),
    _raft(
        70,
        "a truncated write is acknowledged late",
        "log",
        "        self._writes = deque((number, min(last, index - 1)) "
        "for number, last in self._writes)\n",
        "",
    ),
    _shell(
        72,
        "a retry is executed again",
        "machine",
        "        if command.sequence <= sequence:",
        "        if command.sequence < sequence:",
    ),
    _shell(
        73,
        "sessions are not in the snapshot",
        "machine",
        "        machine.sessions = {client: (seq, result) for client, (seq, result) in sessions}\n",
        "",
    ),
    _raft(
        74,
        "a forwarded proposal is passed on",
        "proposals",
        "        code = Code.NOT_LEADER\n    else:",
        "        code = Code.NOT_LEADER\n"
        "        if core.leader not in (NOBODY, message.sender):\n"
        "            core.send(Propose(core.id, core.leader, core.term, message.request,\n"
        "                              message.payloads))\n            return\n    else:",
    ),
    _shell(
        75,
        "an unknown outcome is reported as refused",
        "desk",
        "            for _, _, reply in self._waiting[index]:\n"
        '                reply("unknown", "")',
        "            for _, _, reply in self._waiting[index]:\n"
        '                reply("refused", "")',
    ),
    _raft(
        76,
        "waiting reads are forgotten on step-down",
        "election",
        "    reading.fail_pending(core)\n",
        "    core.reads_waiting.clear()\n    core.reads_pending.clear()\n    core.read_count = 0\n",
    ),
    _shell(
        77,
        "compare-and-set is not decided at apply",
        "machine",
        '            return "differs"',
        '            self.data[command.key] = command.value\n            return "differs"',
    ),
    _shell(
        78,
        "followers do not apply",
        "machine",
        "        result = self._execute(command)",
        '        result = self._execute(command) if self.chain % 7 else "ok"',
    ),
)
