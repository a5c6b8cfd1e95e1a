//! Where the body of an answer comes from: an object of the slab, or chunks that Python queued.
//!
//! Owns: the position in the body, the framing (plain or chunked) and the pin of a body in flight.
//! Never: sockets. It only names the next bytes and is told how many the kernel took. Bytes of an object
//! are sent by copying calls (sendmsg), never by sendfile: queued page references would be read after
//! the slot has a new owner.

const std = @import("std");
const sys = @import("engine_sys.zig");
const types = @import("engine_types.zig");
const slab_of = @import("slab.zig");
const Command = @import("engine_command.zig").Command;
const Slab = slab_of.Slab;
const Object = slab_of.Object;

pub const Kind = enum(u8) { none, object, stream };
pub const State = enum { more, starved, finished, failed };

/// Vectors of one sendmsg; extents of 1 MiB make 16 of them already long.
pub const vector_count_max = 32;

pub const Vectors = struct {
    items: [vector_count_max]sys.Vector = undefined,
    count: usize = 0,
    bytes: usize = 0,

    pub fn isFull(self: *const Vectors) bool {
        return self.count == vector_count_max;
    }

    pub fn add(self: *Vectors, part: []const u8) void {
        if (part.len == 0) return;
        self.items[self.count] = .{ .base = part.ptr, .length = part.len };
        self.count += 1;
        self.bytes += part.len;
    }
};

pub const Source = struct {
    kind: Kind = .none,
    is_chunked: bool = false,
    is_pinned: bool = false,
    /// The last bytes are named; nothing follows but what is in `frame`.
    is_ended: bool = false,
    has_run: bool = false,
    frame: [24]u8 = undefined,
    frame_at: u8 = 0,
    frame_end: u8 = 0,
    /// Body bytes handed to the kernel.
    sent: u64 = 0,

    object: ?*Object = null,
    handle: u64 = 0,
    position: u64 = 0,
    /// Body bytes before this offset may go without a new chunk header.
    run_end: u64 = 0,
    /// One past the last byte to send; length_unknown while a fill has no promised length.
    end: u64 = 0,

    first: ?*Command = null,
    last: ?*Command = null,
    /// Stream: bytes queued in all, and the length promised in the head.
    queued: u64 = 0,
    promised: u64 = types.length_unknown,
    unsent: u64 = 0,
    since_writable: u64 = 0,
    is_finished: bool = false,

    pub fn frameRest(self: *const Source) []const u8 {
        return self.frame[self.frame_at..self.frame_end];
    }

    fn setFrame(self: *Source, parts: []const []const u8) void {
        self.frame_at = 0;
        self.frame_end = 0;
        for (parts) |part| {
            @memcpy(self.frame[self.frame_end..][0..part.len], part);
            self.frame_end += @intCast(part.len);
        }
    }

    /// Names the next bytes of the body, at most about `budget`, without taking them.
    pub fn gather(self: *Source, slab: *Slab, vectors: *Vectors, budget: usize) State {
        return switch (self.kind) {
            .none => .finished,
            .object => self.gatherObject(slab, vectors, budget),
            .stream => self.gatherStream(vectors, budget),
        };
    }

    fn gatherObject(self: *Source, slab: *Slab, vectors: *Vectors, budget: usize) State {
        const object = self.object.?;
        if (self.position == self.run_end and self.frameRest().len == 0 and !self.is_ended) {
            switch (self.nextRun(object)) {
                .more => {},
                else => |state| return state,
            }
        }
        vectors.add(self.frameRest());
        var at = self.position;
        var left = budget;
        while (at < self.run_end and left > 0 and !vectors.isFull()) {
            const chunk = slab.chunkAt(object, at);
            const count: usize = @intCast(@min(chunk.len, self.run_end - at, left));
            if (count == 0) return .failed;
            vectors.add(chunk[0..count]);
            at += count;
            left -= count;
        }
        if (self.is_ended and self.frameRest().len == 0) return .finished;
        return .more;
    }

    /// Opens the next run of readable bytes, or finds that there is none yet, or none any more.
    fn nextRun(self: *Source, object: *Object) State {
        const state = object.state();
        const filled = object.filled();
        if (state == .dead or state == .free) return .failed;
        const end = if (self.end != types.length_unknown)
            self.end
        else if (state == .live) object.bodyLength() else types.length_unknown;
        const readable = @min(filled, end);
        const separator: []const u8 = if (self.has_run) "\r\n" else "";
        if (readable > self.position) {
            self.run_end = readable;
            if (self.is_chunked) {
                var digits: [16]u8 = undefined;
                const size = std.fmt.bufPrint(&digits, "{x}", .{readable - self.position}) catch unreachable;
                self.setFrame(&.{ separator, size, "\r\n" });
                self.has_run = true;
            }
            return .more;
        }
        if (self.position < end) return if (state == .live) .failed else .starved;
        self.is_ended = true;
        if (!self.is_chunked) return .finished;
        self.setFrame(&.{ separator, "0\r\n\r\n" });
        return .more;
    }

    fn gatherStream(self: *Source, vectors: *Vectors, budget: usize) State {
        var left = budget;
        var item = self.first;
        while (item) |command| : (item = command.following) {
            if (left == 0 or vectors.isFull()) return .more;
            const rest = command.framedRest();
            const count = @min(rest.len, left);
            vectors.add(rest[0..count]);
            left -= count;
        }
        if (vectors.isFull()) return .more;
        vectors.add(self.frameRest());
        if (vectors.count > 0) return .more;
        if (!self.is_finished) return .starved;
        return .finished;
    }

    /// The kernel took `count` of the bytes that gather named.
    pub fn advance(self: *Source, count: usize) void {
        var left = count;
        if (self.kind == .object) {
            left -= self.advanceFrame(left);
            self.position += left;
            self.sent += left;
            return;
        }
        while (left > 0) {
            const command = self.first orelse {
                _ = self.advanceFrame(left);
                return;
            };
            const rest = command.framedRest().len;
            const taken = @min(rest, left);
            command.framed_at += taken;
            left -= taken;
            if (taken < rest) return;
            self.first = command.following;
            if (self.first == null) self.last = null;
            self.unsent -= command.length;
            self.sent += command.length;
            command.destroy();
        }
    }

    fn advanceFrame(self: *Source, count: usize) usize {
        const taken: u8 = @intCast(@min(self.frame_end - self.frame_at, count));
        self.frame_at += taken;
        return taken;
    }

    /// Takes over a chunk from Python. False: more bytes than the head promised.
    pub fn enqueue(self: *Source, command: *Command) bool {
        command.frameAs(self.is_chunked);
        command.following = null;
        if (self.last) |last| last.following = command else self.first = command;
        self.last = command;
        self.queued += command.length;
        self.unsent += command.length;
        self.since_writable += command.length;
        return self.promised == types.length_unknown or self.queued <= self.promised;
    }

    /// No more chunks follow. False: fewer bytes than the head promised.
    pub fn finish(self: *Source) bool {
        if (self.promised != types.length_unknown and self.queued != self.promised) return false;
        if (self.is_chunked) self.setFrame(&.{"0\r\n\r\n"});
        self.is_finished = true;
        return true;
    }

    /// True once for every time the queue has fallen low after it had risen above the low mark. The
    /// writer counts its own bytes since the last WRITABLE, so each of its full queues is answered.
    pub fn takeWritable(self: *Source) bool {
        if (self.kind != .stream or self.is_finished) return false;
        if (self.since_writable <= types.write_low_bytes) return false;
        if (self.unsent > types.write_low_bytes) return false;
        self.since_writable = 0;
        return true;
    }

    /// Keeps the object from being reused beyond this turn.
    pub fn pin(self: *Source, slab: *Slab) void {
        if (self.kind != .object or self.is_pinned) return;
        slab.pin(self.object.?);
        self.is_pinned = true;
    }

    pub fn release(self: *Source, slab: *Slab) void {
        if (self.is_pinned) slab.unpin(self.object.?);
        while (self.first) |command| {
            self.first = command.following;
            command.destroy();
        }
        self.* = .{};
    }
};
