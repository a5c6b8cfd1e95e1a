"""Bugs of votes, terms, logs and elections, each as an edit of the source.

Owns the texts. Never the hunt. The number is the line of the list of failures.
"""

from __future__ import annotations

from tests.sim.mutants.mutant import Edit, Mutant, plant_core, plant_shell

ELECTIONS = (
    plant_core(
        0,
        "witnesses may be the majority",
        "configuration",
        "        if len(self.witnesses) > len(self.voters) // 2:",
        "        if not self.voters:",
    ),
    plant_core(
        0,
        "a witness runs ahead of the leader's disk",
        "replication",
        "min(last, log.stable_index) if peer in witnesses else last",
        "last",
    ),
    plant_core(
        1,
        "vote leaves before it is durable",
        "election",
        "core.send_after_persist(VoteReply(",
        "core.send(VoteReply(",
    ),
    plant_core(
        2,
        "term is forgotten at restart",
        "core",
        "self.term: Term = hard_state.term",
        "self.term: Term = log.last_term",
    ),
    plant_core(
        3,
        "vote is erased on every step-down",
        "election",
        "        core.term = term\n        core.vote = NOBODY\n    if core.role",
        "        core.term = term\n    core.vote = NOBODY\n    if core.role",
    ),
    plant_core(
        4,
        "logs are compared by length",
        "log",
        "return (term, index) >= (self.last_term, self.last_index)",
        "return index >= self.last_index",
    ),
    plant_core(
        5,
        "older terms are committed by counting",
        "replication",
        " and log.store.term_at(agreed) == core.term",
        "",
    ),
    plant_core(
        6,
        "commit index goes back",
        "log",
        "if index <= self.commit_index:\n            return False",
        "if index == self.commit_index:\n            return False",
    ),
    plant_core(
        7,
        "match index goes back",
        "progress",
        "        if is_news:\n            self.match_index = match",
        "        self.match_index = match",
    ),
    plant_core(
        8,
        "next index falls to match",
        "progress",
        "max(min(rejected, hint + 1), self.match_index + 1)",
        "min(rejected, hint + 1)",
    ),
    plant_core(
        9,
        "quorum from an unsorted list",
        "quorum",
        "sorted([values.get(node, 0) for node in voters], reverse=True)",
        "[values.get(node, 0) for node in voters]",
    ),
    plant_core(
        10,
        "a deposed leader rolls back",
        "election",
        "    core.progress.clear()\n    core.round_started_ms.clear()",
        "    if core.log.last_index > core.log.commit_index:\n"
        "        core.log.truncate_from(core.log.commit_index + 1)\n"
        "    core.progress.clear()\n    core.round_started_ms.clear()",
    ),
    plant_core(
        11,
        "an empty append is not checked",
        "replication",
        "    if log.matches(message.prev_index, message.prev_term):",
        "    if not message.entries or log.matches(message.prev_index, message.prev_term):",
    ),
    plant_core(
        12,
        "a stale append truncates",
        "log",
        "        return entries[-1].index\n",
        "        last = entries[-1].index\n"
        "        if self.commit_index <= last < self.last_index:\n"
        "            self.truncate_from(last + 1)\n"
        "        return last\n",
    ),
    plant_core(
        13,
        "a compacted prev counts as conflict",
        "replication",
        "    if message.prev_index < log.commit_index:",
        "    if message.prev_index < log.store.base_index:\n"
        "        log.truncate_from(message.prev_index + 1)\n"
        "    if message.prev_index < log.commit_index:",
    ),
    plant_core(
        15,
        "a follower acknowledges before its disk",
        "replication",
        "    core.send_after_persist(AppendReply(core.id, leader, core.term, match, round_))",
        "    core.send(AppendReply(core.id, leader, core.term, match, round_))",
    ),
    plant_core(
        16,
        "a leader counts itself before its disk",
        "replication",
        'core.peer_values("match_index", log.stable_index)',
        'core.peer_values("match_index", log.last_index)',
    ),
    plant_shell(
        17,
        "the shell sends before it writes",
        "process",
        "        for message in ready.messages:\n            self._send(message)",
        "        for message in (*ready.messages, *ready.messages_after_persist):\n"
        "            self._send(message)",
    ),
    plant_core(
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
    plant_core(
        20,
        "no pre-vote: a cut-off member raises its term",
        "election",
        "    elif core.options.pre_vote:",
        "    elif not core.options.pre_vote:",
    ),
    plant_core(
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
    plant_core(
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
    plant_core(
        25,
        "a leader without a quorum stays",
        "election",
        "    if core.now - silent_since > core.options.election_timeout_ms_min:",
        "    if silent_since < 0:",
    ),
    plant_core(
        26,
        "sending counts as hearing",
        "replication",
        "        commit = min(core.log.commit_index, progress.match_index)",
        "        progress.heard_ms = core.now\n"
        "        commit = min(core.log.commit_index, progress.match_index)",
    ),
    plant_core(
        27,
        "a restarted follower waits for ever",
        "core",
        "        self.reset_election_deadline()\n\n    def reset",
        "        self.election_deadline_ms = 1 << 60\n\n    def reset",
    ),
    plant_core(
        28,
        "a hung disk does not cost leadership",
        "transfer",
        "    if core.is_disk_stalled():\n        resign(core)",
        "    pass",
    ),
    plant_core(
        30,
        "lost appends are never noticed",
        "replication",
        "        progress.must_poke = True",
        "        progress.must_poke = False",
    ),
)
