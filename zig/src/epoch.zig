//! Epochs: when a slot that left the index may be used again.
//!
//! Owns: the global epoch, one cache line for each registered reader, and the guest counters of threads
//! that are no registered readers. Never: what is retired (see reclaim.zig).
//!
//! Rule: what was unlinked while the global epoch was r may be reused once it is r + 2.
//! Why that holds: a reader announces the epoch it saw (seq_cst store), then loads index words (seq_cst).
//! The writer clears the index word (seq_cst), then looks at the announcements (seq_cst). All four are in
//! one total order, so either the reader's load comes after the unlink and does not see the object, or the
//! writer sees the announcement. The epoch moves from e to e + 1 only when every active reader announced e;
//! a reader that announced e <= r therefore holds the epoch at r + 1 or below until it leaves.
//! leave() is a release store, read with at least acquire before the slot is reused: the reader's last
//! loads happen before the next owner's first store.

const std = @import("std");
const Atomic = std.atomic.Value;

const inactive: u64 = 0;

/// Two cache lines: adjacent-line prefetch would couple neighbours.
pub const Reader = extern struct {
    announced: Atomic(u64) align(128),
    taken: Atomic(u32),
};

pub const Epochs = struct {
    global: Atomic(u64) align(128),
    guests: [2]Atomic(u64) align(128),
    readers: []Reader,

    pub fn init(readers: []Reader) Epochs {
        for (readers) |*reader| reader.* = .{ .announced = .init(inactive), .taken = .init(0) };
        return .{ .global = .init(1), .guests = .{ .init(0), .init(0) }, .readers = readers };
    }

    pub fn register(self: *Epochs) error{TooManyReaders}!u32 {
        for (self.readers, 0..) |*reader, index| {
            if (reader.taken.cmpxchgStrong(0, 1, .acq_rel, .monotonic) == null) return @intCast(index);
        }
        return error.TooManyReaders;
    }

    pub fn unregister(self: *Epochs, reader: u32) void {
        self.readers[reader].announced.store(inactive, .release);
        self.readers[reader].taken.store(0, .release);
    }

    pub fn registeredCount(self: *const Epochs) u32 {
        var count: u32 = 0;
        for (self.readers) |*reader| count += reader.taken.load(.acquire);
        return count;
    }

    pub inline fn enter(self: *Epochs, reader: u32) void {
        self.readers[reader].announced.store(self.global.load(.monotonic), .seq_cst);
    }

    pub inline fn leave(self: *Epochs, reader: u32) void {
        self.readers[reader].announced.store(inactive, .release);
    }

    /// For threads without a reader slot: costs two atomic adds. Gives the ticket for leaveGuest.
    /// Retries only when the epoch moved meanwhile, so somebody else made progress.
    pub fn enterGuest(self: *Epochs) u1 {
        while (true) {
            const epoch = self.global.load(.seq_cst);
            const parity: u1 = @truncate(epoch);
            _ = self.guests[parity].fetchAdd(1, .seq_cst);
            if (self.global.load(.seq_cst) == epoch) return parity;
            _ = self.guests[parity].fetchSub(1, .release);
        }
    }

    pub fn leaveGuest(self: *Epochs, ticket: u1) void {
        _ = self.guests[ticket].fetchSub(1, .release);
    }

    pub fn now(self: *const Epochs) u64 {
        return self.global.load(.seq_cst);
    }

    /// Moves the epoch on by one when every active reader has seen the present one.
    /// Called under the slab's lock, so there is one advancer at a time.
    pub fn tryAdvance(self: *Epochs) bool {
        const epoch = self.global.load(.seq_cst);
        for (self.readers) |*reader| {
            const announced = reader.announced.load(.seq_cst);
            if (announced != inactive and announced != epoch) return false;
        }
        const previous: u1 = @truncate(epoch +% 1);
        if (self.guests[previous].load(.seq_cst) != 0) return false;
        self.global.store(epoch + 1, .seq_cst);
        return true;
    }
};
