//! One client connection: what a thread remembers between two turns.
//!
//! Owns: the record, its bytes not yet parsed and not yet sent, the table of records and the pool of
//! receive buffers. Never: system calls on the socket, decisions. An idle connection holds no buffer.

const std = @import("std");
const Atomic = std.atomic.Value;
const sys = @import("engine_sys.zig");
const types = @import("engine_types.zig");
const body = @import("http1_body.zig");
const Source = @import("engine_source.zig").Source;

pub const Phase = enum(u8) {
    /// Waits for a request head, or has part of one.
    head,
    /// Python has the request and has not answered.
    handed_over,
    /// An answer is on its way: from the slab or from Python.
    answering,
    /// Our side is shut; input is read and dropped so that the client gets to see the answer.
    lingering,
};

/// Bytes that were received and wait. They lie in the thread's shared buffer during a turn and move to
/// a buffer of their own (`is_owned`) when the turn ends with some left.
pub const Input = struct {
    buffer: []u8 = &.{},
    start: u32 = 0,
    end: u32 = 0,
    is_owned: bool = false,

    pub fn slice(self: *const Input) []u8 {
        return self.buffer[self.start..self.end];
    }

    pub fn length(self: *const Input) usize {
        return self.end - self.start;
    }

    pub fn skip(self: *Input, count: usize) void {
        self.start += @intCast(count);
    }
};

/// Response bytes that the kernel has not taken yet; malloc'd.
pub const Pending = struct {
    buffer: []u8 = &.{},
    at: usize = 0,

    pub fn slice(self: *const Pending) []const u8 {
        return self.buffer[self.at..];
    }

    pub fn deinit(self: *Pending) void {
        if (self.buffer.len > 0) sys.free(self.buffer.ptr);
        self.* = .{};
    }

    /// Keeps what is left plus `more`; false: out of memory.
    pub fn append(self: *Pending, more: []const u8) bool {
        if (more.len == 0) return true;
        const rest = self.slice();
        const raw = sys.malloc(rest.len + more.len) orelse return false;
        const joined = @as([*]u8, @ptrCast(raw))[0 .. rest.len + more.len];
        @memcpy(joined[0..rest.len], rest);
        @memcpy(joined[rest.len..], more);
        self.deinit();
        self.buffer = joined;
        return true;
    }
};

pub const Connection = struct {
    /// The request that Python may act on; 0: none. Python's thread reads it to learn that the client left.
    current: Atomic(u64) = .init(0),
    /// BODY events that Python has not given back.
    bodies_out: Atomic(u32) = .init(0),
    /// Written by Python's thread only: the request it answered last.
    answered_request: u64 = 0,

    // Everything below belongs to the connection's thread.
    fd: i32 = -1,
    index: u32 = 0,
    generation: u32 = 0,
    watched: u32 = 0,
    phase: Phase = .head,
    close_after: bool = false,
    /// The client asked for the end itself.
    close_after_quietly: bool = false,
    is_blocked: bool = false,
    /// The client has shut its side.
    at_end: bool = false,
    /// Memory ran out for bytes of an answer: what follows them must not be sent.
    is_broken: bool = false,
    is_head_method: bool = false,
    minor_version: u8 = 1,
    /// Echo "Connection: keep-alive" (HTTP/1.0 asks for it).
    says_keep_alive: bool = false,
    continue_due: bool = false,
    last_body_sent: bool = false,
    peer_family: u8 = 4,
    peer_port: u16 = 0,
    peer_address: [16]u8 = @splat(0),
    client_hash: u64 = 0,
    /// Steady milliseconds; 0: none.
    deadline_ms: u64 = 0,
    head_started: bool = false,
    /// Bytes of an unfinished head that the parser has seen.
    parsed_length: u32 = 0,
    sent_in_turn: u32 = 0,
    input: Input = .{},
    decoder: body.Decoder = .{},
    credit: u64 = 0,
    pending: Pending = .{},
    source: Source = .{},
    request: u64 = 0,
    /// Filled when the answer begins, recorded when it ends.
    access: types.Access = .{},
    is_native: bool = false,
    started_us: u64 = 0,
    /// Free list of the table, or the follower list of a filling object.
    next: ?*Connection = null,
    previous: ?*Connection = null,
    is_following: bool = false,
};

/// Connections of one thread, in chunks that never move, so that Python's thread may look at `current`.
pub const Table = struct {
    const chunk_length = 256;
    const chunk_count_max = types.connections_ceiling / chunk_length;
    const Chunk = [chunk_length]Connection;

    chunks: []Atomic(?*Chunk) = &.{},
    used: u32 = 0,
    free: ?*Connection = null,
    capacity: u32 = 0,

    pub fn init(self: *Table, capacity: u32) error{NoMemory}!void {
        const chunk_count = (capacity + chunk_length - 1) / chunk_length;
        std.debug.assert(chunk_count <= chunk_count_max);
        const raw = sys.malloc(chunk_count * @sizeOf(Atomic(?*Chunk))) orelse return error.NoMemory;
        const chunks: [*]Atomic(?*Chunk) = @ptrCast(@alignCast(raw));
        self.* = .{ .chunks = chunks[0..chunk_count], .capacity = capacity };
        for (self.chunks) |*chunk| chunk.* = .init(null);
    }

    pub fn deinit(self: *Table) void {
        for (self.chunks) |*chunk| sys.free(chunk.load(.monotonic));
        if (self.chunks.len > 0) sys.free(self.chunks.ptr);
        self.* = .{};
    }

    /// Any thread.
    pub fn at(self: *const Table, index: u32) ?*Connection {
        if (index / chunk_length >= self.chunks.len) return null;
        const chunk = self.chunks[index / chunk_length].load(.acquire) orelse return null;
        return &chunk[index % chunk_length];
    }

    pub fn take(self: *Table) ?*Connection {
        if (self.free) |connection| {
            self.free = connection.next;
            connection.next = null;
            return connection;
        }
        if (self.used == self.capacity) return null;
        const slot = &self.chunks[self.used / chunk_length];
        if (slot.load(.monotonic) == null) {
            const raw = sys.malloc(@sizeOf(Chunk)) orelse return null;
            const chunk: *Chunk = @ptrCast(@alignCast(raw));
            for (chunk) |*connection| connection.* = .{};
            slot.store(chunk, .release);
        }
        const connection = self.at(self.used).?;
        connection.index = self.used;
        self.used += 1;
        return connection;
    }

    /// Clears the record for the next client; the generation and what Python's thread reads stay.
    pub fn give(self: *Table, connection: *Connection) void {
        const index = connection.index;
        const generation = connection.generation;
        // The shared words keep their place in memory and their meaning: only own fields are reset.
        inline for (@typeInfo(Connection).@"struct".field_names) |name| {
            const is_shared = comptime std.mem.eql(u8, name, "current") or
                std.mem.eql(u8, name, "bodies_out") or std.mem.eql(u8, name, "answered_request");
            if (!is_shared) @field(connection, name) = @field(Connection{}, name);
        }
        connection.index = index;
        connection.generation = generation;
        connection.next = self.free;
        self.free = connection;
    }
};

/// Receive buffers of a thread, in two sizes; a few free ones are kept.
pub const Buffers = struct {
    pub const small_bytes = 4096;
    const kept_max = 64;

    large_bytes: usize = 0,
    kept: [2][kept_max][*]u8 = undefined,
    kept_count: [2]usize = .{ 0, 0 },

    /// A buffer of `wanted` bytes or more (at most large_bytes); null: out of memory.
    pub fn take(self: *Buffers, wanted: usize) ?[]u8 {
        std.debug.assert(wanted <= self.large_bytes);
        const class: usize = if (wanted <= small_bytes) 0 else 1;
        const size = if (class == 0) small_bytes else self.large_bytes;
        if (self.kept_count[class] > 0) {
            self.kept_count[class] -= 1;
            return self.kept[class][self.kept_count[class]][0..size];
        }
        const raw = sys.malloc(size) orelse return null;
        return @as([*]u8, @ptrCast(raw))[0..size];
    }

    pub fn give(self: *Buffers, buffer: []u8) void {
        const class: usize = if (buffer.len == small_bytes) 0 else 1;
        if (self.kept_count[class] == kept_max) return sys.free(buffer.ptr);
        self.kept[class][self.kept_count[class]] = buffer.ptr;
        self.kept_count[class] += 1;
    }

    pub fn deinit(self: *Buffers) void {
        for (0..2) |class| {
            for (self.kept[class][0..self.kept_count[class]]) |pointer| sys.free(pointer);
            self.kept_count[class] = 0;
        }
    }
};
