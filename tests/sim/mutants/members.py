"""Bugs of transfers, reads and members, each as an edit of the source.

Owns the texts. Never the hunt. The number is the line of the list of failures.
"""

from __future__ import annotations

from tests.sim.mutants.mutant import Edit, Mutant, plant_core, plant_shell

MEMBERS = (
    plant_core(
        31,
        "a transfer's target asks for pre-votes",
        "transfer",
        "election.start_election(core, is_transfer=True)",
        "election.start_pre_vote(core)",
    ),
    plant_core(
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
    plant_core(
        35,
        "reads before the term's first commit",
        "reading",
        "    core.read_count += len(requests)\n"
        "    if core.log.commit_index < core.term_start_index:",
        "    core.read_count += len(requests)\n    if core.log.commit_index < 0:",
    ),
    plant_core(
        36,
        "a leader answers reads by itself",
        "reading",
        "    core.reads_pending.append(read)\n    core.is_round_due = True",
        "    _answer(core, read, Code.OK)",
    ),
    plant_core(
        37,
        "a read is confirmed by an older round",
        "reading",
        "core.log.commit_index, core.round + 1)",
        "core.log.commit_index, core.round)",
    ),
    plant_core(
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
    plant_shell(
        40,
        "a read does not wait for the applied index",
        "desk",
        "            elif machine.applied_index >= index:",
        "            elif machine.applied_index >= 0:",
    ),
    plant_core(
        41,
        "one acknowledgement confirms a read",
        "reading",
        "    return quorum.quorum_value("
        'core.log.configuration, core.peer_values("acked_round", core.round))',
        '    return max(core.peer_values("acked_round", 0).values())',
    ),
    plant_core(
        42,
        "members change before the term's first commit",
        "membership",
        "\n        or log.commit_index < core.term_start_index",
        "",
    ),
    plant_core(
        43,
        "a second change while one is pending",
        "membership",
        "        log.configuration_index > log.commit_index\n        or log",
        "        log",
    ),
    plant_core(
        44,
        "commitment ignores the outgoing half",
        "quorum",
        "    if configuration.outgoing:\n        agreed",
        "    if not configuration.voters:\n        agreed",
    ),
    plant_core(
        44,
        "elections ignore the outgoing half",
        "quorum",
        "    if configuration.outgoing:\n        other",
        "    if not configuration.voters:\n        other",
    ),
    plant_core(
        44,
        "configuration is not read back at restart",
        "log",
        "            self._note_kinds(held)",
        "            pass",
    ),
    plant_core(
        45,
        "an uncommitted configuration survives a snapshot",
        "log",
        "        self._configurations = [(snapshot.index, snapshot.configuration)]",
        "        self._configurations = [\n"
        "            (snapshot.index, snapshot.configuration), self._configurations[-1]\n        ]",
    ),
    plant_core(
        46,
        "compaction forgets the configuration",
        "log",
        "        in_force = self.configuration_at(index)",
        "        in_force = self._configurations[0][1]",
    ),
    plant_core(
        47,
        "truncation keeps the configuration",
        "log",
        "        while self._configurations[-1][0] >= index:\n"
        "            self._configurations.pop()\n",
        "",
    ),
    plant_core(
        48,
        "learners count in the quorum",
        "quorum",
        "    agreed = agreed_value(configuration.voters, values)",
        "    agreed = agreed_value(configuration.members(), values)",
    ),
    plant_core(
        48,
        "learners campaign",
        "configuration",
        "return self.is_voter(node) and node not in self.witnesses",
        "return node in self.members() and node not in self.witnesses",
    ),
    plant_core(
        49,
        "a removed leader stays",
        "membership",
        "        transfer.resign(core)",
        "        pass",
    ),
    plant_core(
        49,
        "a removed follower is still sent entries",
        "election",
        "    core.progress = {}\n",
        "    core.progress = dict(known)\n",
    ),
    plant_core(
        50,
        "a removed id comes back",
        "configuration",
        "        if node in self.removed:",
        "        if node in ():",
    ),
)
