//! The engine's side of neurocache.h: structures, constants and status codes of the C ABI.
//!
//! Owns: the byte layout shared with C. Never: behaviour. zig/test/engine_abi_check.c has the same sizes.

const std = @import("std");
const Field = @import("http1_head.zig").Field;

pub const Status = i32;
pub const ok: Status = 0;
pub const not_found: Status = -1;
pub const invalid: Status = -4;
pub const wrong_state: Status = -6;
pub const system: Status = -7;
pub const no_memory: Status = -8;
pub const full: Status = -10;

pub const length_unknown: u64 = std.math.maxInt(u64);
pub const time_never: u32 = std.math.maxInt(u32);
pub const key_bytes_max = 16384;
pub const thread_count_max = 64;
pub const requests_in_flight_ceiling = 16384;
/// Connection indices take 24 bits of a request's name.
pub const connections_ceiling = 1 << 24;
pub const answer_fields_bytes_max = 65535;

pub const write_low_bytes = 65536;
pub const body_chunk_bytes_max = 65536;

pub const Options = extern struct {
    host: ?[*:0]const u8,
    port: u32,
    thread_count: u32,
    connections_max: u32,
    requests_in_flight_max: u32,
    request_line_bytes_max: u32,
    header_bytes_max: u32,
    field_count_max: u32,
    header_timeout_ms: u32,
    idle_timeout_ms: u32,
    body_timeout_ms: u32,
    send_timeout_ms: u32,
    access_ring_count: u32,
};

pub const EventKind = struct {
    pub const request: u16 = 1;
    pub const body: u16 = 2;
    pub const writable: u16 = 3;
    pub const closed: u16 = 4;
};

pub const EventFlag = struct {
    pub const last: u16 = 1 << 0;
    pub const object_api: u16 = 1 << 1;
    pub const has_body: u16 = 1 << 2;
    pub const expects_100: u16 = 1 << 3;
    pub const stale_hit: u16 = 1 << 4;
    pub const peer_loopback: u16 = 1 << 5;
};

pub const Event = extern struct {
    request: u64 = 0,
    data: ?[*]const u8 = null,
    fields: ?[*]const Field = null,
    data_length: u64 = 0,
    content_length: u64 = 0,
    received_ms: u64 = 0,
    hash: [2]u64 = .{ 0, 0 },
    field_count: u32 = 0,
    method_offset: u32 = 0,
    method_length: u32 = 0,
    target_offset: u32 = 0,
    target_length: u32 = 0,
    authority_offset: u32 = 0,
    authority_length: u32 = 0,
    key_offset: u32 = 0,
    key_length: u32 = 0,
    kind: u16,
    flags: u16 = 0,
    status: i16 = 0,
    minor_version: u8 = 0,
    peer_family: u8 = 0,
    peer_address: [16]u8 = @splat(0),
    peer_port: u16 = 0,
};

pub const Outcome = struct {
    pub const hit: u8 = 0;
    pub const err: u8 = 6;
    pub const prefetched: u8 = 8;
    pub const count = 9;
};

pub const Answer = extern struct {
    fields: ?[*]const u8,
    object: u64,
    offset: u64,
    length: u64,
    fields_length: u32,
    status: u16,
    outcome: u8,
    close: u8,
};

pub const AccessFlag = struct {
    pub const head: u8 = 1 << 0;
    pub const not_modified: u8 = 1 << 1;
    pub const partial: u8 = 1 << 2;
};

pub const Access = extern struct {
    time_us: u64 = 0,
    hash: [2]u64 = .{ 0, 0 },
    client_hash: u64 = 0,
    body_bytes: u64 = 0,
    object: u64 = 0,
    duration_us: u32 = 0,
    status: u16 = 0,
    outcome: u8 = 0,
    flags: u8 = 0,
    reserved: u64 = 0,
};

pub const duration_buckets = 24;

/// Only 64-bit counters, so that the statistics of threads can be summed word by word.
pub const Stats = extern struct {
    connections_accepted: u64 = 0,
    connections_open: u64 = 0,
    connections_refused: u64 = 0,
    requests: u64 = 0,
    hits_native: u64 = 0,
    hits_not_modified: u64 = 0,
    hits_partial: u64 = 0,
    handed_over: u64 = 0,
    shed: u64 = 0,
    bytes_received: u64 = 0,
    bytes_sent: u64 = 0,
    rejected_400: u64 = 0,
    rejected_408: u64 = 0,
    rejected_414: u64 = 0,
    rejected_431: u64 = 0,
    rejected_501: u64 = 0,
    rejected_505: u64 = 0,
    timeouts_idle: u64 = 0,
    timeouts_send: u64 = 0,
    timeouts_body: u64 = 0,
    access_recorded: u64 = 0,
    access_dropped: u64 = 0,
    requests_in_flight: u64 = 0,
    outcomes: [Outcome.count]u64 = @splat(0),
    status_class: [6]u64 = @splat(0),
    hit_duration: [duration_buckets]u64 = @splat(0),
    hit_duration_sum_us: u64 = 0,
    other_duration: [duration_buckets]u64 = @splat(0),
    other_duration_sum_us: u64 = 0,

    pub const word_count = @sizeOf(Stats) / 8;

    /// Adds the words of `other`, which its thread may be writing.
    pub fn add(self: *Stats, other: *const Stats) void {
        const to: *[word_count]u64 = @ptrCast(self);
        const from: *const [word_count]u64 = @ptrCast(other);
        for (to, from) |*word, *theirs| word.* +%= @atomicLoad(u64, theirs, .monotonic);
    }
};

/// Adds to a counter that one thread writes and others read: a plain store, no locked instruction.
pub fn bump(counter: *u64, amount: u64) void {
    @atomicStore(u64, counter, counter.* +% amount, .monotonic);
}

// The figures of zig/test/engine_abi_check.c.
comptime {
    std.debug.assert(@sizeOf(Options) == 56);
    std.debug.assert(@sizeOf(Field) == 16);
    std.debug.assert(@sizeOf(Event) == 128);
    std.debug.assert(@offsetOf(Event, "hash") == 48);
    std.debug.assert(@offsetOf(Event, "field_count") == 64);
    std.debug.assert(@offsetOf(Event, "kind") == 100);
    std.debug.assert(@offsetOf(Event, "peer_address") == 108);
    std.debug.assert(@offsetOf(Event, "peer_port") == 124);
    std.debug.assert(@sizeOf(Answer) == 40);
    std.debug.assert(@offsetOf(Answer, "status") == 36);
    std.debug.assert(@sizeOf(Access) == 64);
    std.debug.assert(@offsetOf(Access, "status") == 52);
    std.debug.assert(@sizeOf(Stats) == 88 * 8);
    std.debug.assert(@offsetOf(Stats, "outcomes") == 23 * 8);
}
