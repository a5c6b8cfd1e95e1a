//! Events for Python: requests, body bytes, room to write, ends.
//!
//! Owns: building and freeing event blobs, and the rule that each REQUEST is followed by exactly one
//! CLOSED as its last event. Never: touches Python. A request counts as in flight until Python has given
//! its CLOSED event back, which bounds what can be queued here when Python stalls.

const std = @import("std");
const sys = @import("engine_sys.zig");
const types = @import("engine_types.zig");
const Node = @import("engine_queue.zig").Node;
const Field = @import("http1_head.zig").Field;
const Request = @import("http1_request.zig").Request;
const Hash = @import("slab.zig").Hash;
const Worker = @import("engine_worker.zig").Worker;
const Connection = @import("engine_connection.zig").Connection;

/// BODY events of one request that Python may hold; more are made when some came back.
pub const bodies_out_max = 8;

pub const Blob = struct {
    node: Node = .{},
    event: types.Event,
    connection: *Connection,

    fn create(kind: u16, connection: *Connection, extra: usize) ?*Blob {
        const raw = sys.malloc(@sizeOf(Blob) + extra) orelse return null;
        const self: *Blob = @ptrCast(@alignCast(raw));
        self.* = .{ .event = .{ .kind = kind, .request = connection.request }, .connection = connection };
        return self;
    }

    fn tail(self: *Blob, length: usize) []u8 {
        const start: [*]u8 = @ptrCast(self);
        return start[@sizeOf(Blob)..][0..length];
    }
};

comptime {
    std.debug.assert(@sizeOf(Blob) % 8 == 0);
}

/// Hands the request to Python. False: out of memory, nothing was handed over.
pub fn pushRequest(
    worker: *Worker,
    connection: *Connection,
    request: *const Request,
    key: []const u8,
    hash: Hash,
    is_known: bool,
) bool {
    const head = request.head;
    const fields_bytes = head.fields.len * @sizeOf(Field);
    const authority = request.authority.slice();
    // The target is a part of the head, except for an absolute-form without a path.
    const is_inside = @intFromPtr(request.target.ptr) >= @intFromPtr(head.bytes.ptr) and
        @intFromPtr(request.target.ptr) < @intFromPtr(head.bytes.ptr) + head.bytes.len;
    const outside: []const u8 = if (is_inside) "" else request.target;
    const data_bytes = head.bytes.len + key.len + authority.len + outside.len;
    const generation = if (connection.generation == std.math.maxInt(u32)) 1 else connection.generation + 1;
    const name = @as(u64, worker.number) << 56 | @as(u64, connection.index) << 32 | generation;
    const blob = Blob.create(types.EventKind.request, connection, fields_bytes + data_bytes) orelse return false;
    connection.generation = generation;
    connection.request = name;
    const event = &blob.event;
    const tail = blob.tail(fields_bytes + data_bytes);
    @memcpy(tail[0..fields_bytes], std.mem.sliceAsBytes(head.fields));
    const data = tail[fields_bytes..];
    const key_at = head.bytes.len;
    const authority_at = key_at + key.len;
    const outside_at = authority_at + authority.len;
    @memcpy(data[0..key_at], head.bytes);
    @memcpy(data[key_at..authority_at], key);
    @memcpy(data[authority_at..outside_at], authority);
    @memcpy(data[outside_at..], outside);
    const target_at = if (is_inside) @intFromPtr(request.target.ptr) - @intFromPtr(head.bytes.ptr) else outside_at;
    event.* = .{
        .kind = types.EventKind.request,
        .request = name,
        .data = data.ptr,
        .data_length = data.len,
        .fields = @ptrCast(@alignCast(tail.ptr)),
        .field_count = @intCast(head.fields.len),
        .content_length = request.content_length,
        .received_ms = worker.wallUs() / 1000,
        .hash = .{ hash.lo, hash.hi },
        .method_length = @intCast(head.method.len),
        .target_offset = @intCast(target_at),
        .target_length = @intCast(request.target.len),
        .authority_offset = @intCast(authority_at),
        .authority_length = @intCast(authority.len),
        .key_offset = @intCast(key_at),
        .key_length = @intCast(key.len),
        .minor_version = head.minor_version,
        .peer_family = connection.peer_family,
        .peer_address = connection.peer_address,
        .peer_port = connection.peer_port,
    };
    if (request.is_object_api) event.flags |= types.EventFlag.object_api;
    if (request.hasBody()) event.flags |= types.EventFlag.has_body;
    if (request.expects_continue) event.flags |= types.EventFlag.expects_100;
    if (is_known) event.flags |= types.EventFlag.stale_hit;
    if (sys.isLoopback(connection.peer_family, &connection.peer_address)) {
        event.flags |= types.EventFlag.peer_loopback;
    }
    connection.current.store(name, .release);
    worker.engine.events.push(&blob.node);
    return true;
}

/// A BODY event under construction: room for `capacity` bytes.
pub const BodyBuilder = struct {
    blob: *Blob,
    room: []u8,
    length: usize = 0,

    pub fn begin(connection: *Connection, capacity: usize) ?BodyBuilder {
        const blob = Blob.create(types.EventKind.body, connection, capacity) orelse return null;
        return .{ .blob = blob, .room = blob.tail(capacity) };
    }

    pub fn append(self: *BodyBuilder, bytes: []const u8) void {
        @memcpy(self.room[self.length..][0..bytes.len], bytes);
        self.length += bytes.len;
    }

    pub fn drop(self: *BodyBuilder) void {
        sys.free(self.blob);
    }

    pub fn push(self: *BodyBuilder, worker: *Worker, is_last: bool) void {
        self.blob.event.data = self.room.ptr;
        self.blob.event.data_length = self.length;
        if (is_last) self.blob.event.flags |= types.EventFlag.last;
        _ = self.blob.connection.bodies_out.fetchAdd(1, .seq_cst);
        worker.engine.events.push(&self.blob.node);
    }
};

/// False: out of memory.
pub fn pushWritable(worker: *Worker, connection: *Connection) bool {
    const blob = Blob.create(types.EventKind.writable, connection, 0) orelse return false;
    worker.engine.events.push(&blob.node);
    return true;
}

/// The request is over for Python; no event of it follows. Does nothing when Python has none.
pub fn endRequest(worker: *Worker, connection: *Connection, status: i16) void {
    if (connection.request == 0) return;
    // Without this event Python would wait for ever: there is nothing sane left to do.
    const blob = Blob.create(types.EventKind.closed, connection, 0) orelse
        @panic("out of memory for a closing event");
    blob.event.status = status;
    connection.current.store(0, .release);
    connection.request = 0;
    worker.engine.events.push(&blob.node);
}
