//! Connections that wait for a fill: who is woken when one moves.
//!
//! Owns: the parked connections of one thread, hashed by the handle they follow, and the handshake that
//! loses no wake-up. Never: bytes, sockets, pins (the body's source holds one).

const std = @import("std");
const Atomic = std.atomic.Value;
const output = @import("engine_output.zig");
const Queue = @import("engine_queue.zig").Queue;
const Worker = @import("engine_worker.zig").Worker;
const Connection = @import("engine_connection.zig").Connection;

const bucket_count = 64;

pub const Followers = struct {
    count: Atomic(u32) align(64) = .init(0),
    /// One bit for each bucket whose fills have moved.
    dirty: Atomic(u64) = .init(0),
    buckets: [bucket_count]?*Connection = @splat(null),

    fn bucketOf(handle: u64) u6 {
        return @truncate((handle *% 0x9e3779b97f4a7c15) >> 58);
    }

    /// Any thread: the fill has moved. A follower counts itself before it looks at the fill for the
    /// last time, and we look at the count after the fill moved, both by read-modify-write of one word:
    /// whichever comes second sees what the other did.
    pub fn notify(self: *Followers, handle: u64, commands: *Queue) void {
        if (self.count.fetchAdd(0, .seq_cst) == 0) return;
        _ = self.dirty.fetchOr(@as(u64, 1) << bucketOf(handle), .seq_cst);
        commands.wake();
    }

    /// Parks the connection until its fill moves. False: it has moved already, nothing was parked.
    pub fn park(self: *Followers, connection: *Connection) bool {
        std.debug.assert(!connection.is_following);
        const bucket = &self.buckets[bucketOf(connection.source.handle)];
        connection.is_following = true;
        connection.previous = null;
        connection.next = bucket.*;
        if (bucket.*) |first| first.previous = connection;
        bucket.* = connection;
        _ = self.count.fetchAdd(1, .seq_cst);
        const object = connection.source.object.?;
        const is_moved = object.state() != .filling or object.filled() > connection.source.position;
        if (is_moved) self.remove(connection);
        return !is_moved;
    }

    /// Does nothing for a connection that is not parked. Its source must still name what it follows.
    pub fn remove(self: *Followers, connection: *Connection) void {
        if (!connection.is_following) return;
        connection.is_following = false;
        if (connection.next) |next| next.previous = connection.previous;
        if (connection.previous) |previous| {
            previous.next = connection.next;
        } else self.buckets[bucketOf(connection.source.handle)] = connection.next;
        connection.next = null;
        connection.previous = null;
        _ = self.count.fetchSub(1, .seq_cst);
    }

    /// The thread itself, once a turn: those whose bucket has moved go on.
    pub fn wake(self: *Followers, worker: *Worker) void {
        if (self.dirty.load(.monotonic) == 0) return;
        const moved = self.dirty.swap(0, .seq_cst);
        for (0..bucket_count) |bucket| {
            if (moved >> @intCast(bucket) & 1 == 0) continue;
            // Woken ones may park again, at the front: the walk has passed there.
            var next = self.buckets[bucket];
            while (next) |connection| {
                next = connection.next;
                connection.sent_in_turn = 0;
                output.proceed(worker, connection);
            }
        }
    }
};
