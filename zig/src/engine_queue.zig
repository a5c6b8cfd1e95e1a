//! Queues between the engine's threads and Python's.
//!
//! Owns: an unbounded intrusive multi-producer queue with a wake-up descriptor, and a bounded
//! single-producer ring that drops. Never: bounds on what is queued: those who push keep them
//! (requests in flight, body credit, write marks), so that no closing event can ever be lost.
//! Source of the intrusive queue: Dmitry Vyukov, "Intrusive MPSC node-based queue".

const std = @import("std");
const Atomic = std.atomic.Value;
const sys = @import("engine_sys.zig");

/// For tests: true when the descriptor becomes readable in time.
pub const waitReadable = sys.waitReadable;

pub const Node = struct { next: Atomic(?*Node) = .init(null) };

pub const Queue = struct {
    /// Producers swap themselves in here; own cache line.
    last: Atomic(*Node) align(64),
    signalled: Atomic(u32),
    first: *Node align(64),
    idle: Node,
    event_fd: i32,

    /// The queue must not move afterwards: it points to itself.
    pub fn init(self: *Queue) error{System}!void {
        const fd = sys.eventfd(0, sys.EFD_CLOEXEC | sys.EFD_NONBLOCK);
        if (fd < 0) return error.System;
        self.idle = .{};
        self.first = &self.idle;
        self.last = .init(&self.idle);
        self.signalled = .init(0);
        self.event_fd = fd;
    }

    pub fn deinit(self: *Queue) void {
        _ = sys.close(self.event_fd);
    }

    /// Any thread.
    pub fn push(self: *Queue, node: *Node) void {
        self.link(node);
        self.wake();
    }

    fn link(self: *Queue, node: *Node) void {
        node.next.store(null, .monotonic);
        const before = self.last.swap(node, .acq_rel);
        before.next.store(node, .release);
    }

    /// Any thread: makes the descriptor readable unless it is already.
    pub fn wake(self: *Queue) void {
        if (self.signalled.swap(1, .seq_cst) == 0) {
            const one: u64 = 1;
            _ = sys.write(self.event_fd, @ptrCast(&one), 8);
        }
    }

    /// The consumer. Null: empty, or a producer is between its two stores; that one wakes us later.
    pub fn pop(self: *Queue) ?*Node {
        var node = self.first;
        var next = node.next.load(.acquire);
        if (node == &self.idle) {
            node = next orelse return null;
            self.first = node;
            next = node.next.load(.acquire);
        }
        if (next) |following| {
            self.first = following;
            return node;
        }
        if (node != self.last.load(.acquire)) return null;
        self.link(&self.idle);
        self.first = node.next.load(.acquire) orelse return null;
        return node;
    }

    /// The consumer: nothing is queued and nobody is about to finish queueing.
    pub fn isEmpty(self: *const Queue) bool {
        return self.first == &self.idle and self.first.next.load(.acquire) == null;
    }

    /// The consumer, before it looks for the last time: whoever pushes from here on writes the
    /// descriptor again. The swap comes after the read, so no signal is swallowed; a producer that
    /// writes late leaves one needless wake-up behind, and the unconditional read clears that.
    pub fn unsignal(self: *Queue) void {
        var count: u64 = 0;
        _ = sys.read(self.event_fd, @ptrCast(&count), 8);
        _ = self.signalled.swap(0, .seq_cst);
    }
};

/// Bounded ring of records from one producer thread to one consumer.
pub fn Ring(comptime Record: type) type {
    return struct {
        const Self = @This();
        written: Atomic(u64) align(64) = .init(0),
        taken_seen: u64 = 0,
        taken: Atomic(u64) align(64) = .init(0),
        slots: []Record = &.{},

        /// False: full (or of no size), the record is dropped.
        pub fn push(self: *Self, record: *const Record) bool {
            const at = self.written.load(.monotonic);
            if (at - self.taken_seen >= self.slots.len) {
                self.taken_seen = self.taken.load(.acquire);
                if (at - self.taken_seen >= self.slots.len) return false;
            }
            self.slots[@intCast(at & (self.slots.len - 1))] = record.*;
            self.written.store(at + 1, .release);
            return true;
        }

        pub fn take(self: *Self, out: []Record) usize {
            const at = self.taken.load(.monotonic);
            const count: usize = @intCast(@min(self.written.load(.acquire) - at, out.len));
            for (out[0..count], 0..) |*record, i| {
                record.* = self.slots[@intCast((at + i) & (self.slots.len - 1))];
            }
            self.taken.store(at + count, .release);
            return count;
        }
    };
}

test "the ring keeps order, drops when full and goes round" {
    var slots: [4]u64 = undefined;
    var ring = Ring(u64){ .slots = &slots };
    var out: [8]u64 = undefined;
    for (0..10) |round| {
        for (0..4) |i| try std.testing.expect(ring.push(&(round * 4 + i)));
        try std.testing.expect(!ring.push(&99));
        try std.testing.expectEqual(4, ring.take(&out));
        for (0..4) |i| try std.testing.expectEqual(round * 4 + i, out[i]);
    }
    var none = Ring(u64){};
    try std.testing.expect(!none.push(&1));
    try std.testing.expectEqual(0, none.take(&out));
}
