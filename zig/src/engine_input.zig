//! From the socket to requests: receiving, pipelining, request bodies for Python.
//!
//! Owns: every recv and where received bytes wait. Never: what a request means (http1_request.zig) or how
//! it is answered. Bytes after a body are the next request, never body, and never the other way round.

const std = @import("std");
const sys = @import("engine_sys.zig");
const types = @import("engine_types.zig");
const head_of = @import("http1_head.zig");
const request_of = @import("http1_request.zig");
const events = @import("engine_event.zig");
const output = @import("engine_output.zig");
const hit = @import("engine_hit.zig");
const worker_of = @import("engine_worker.zig");
const connection_of = @import("engine_connection.zig");
const Worker = worker_of.Worker;
const Connection = connection_of.Connection;
const Buffers = connection_of.Buffers;

/// Read and thrown away after our last answer before the connection is cut.
const linger_bytes_max = 1 << 20;
/// An unfinished head is parsed again when it has a new line end or grew by this much.
const reparse_bytes = 256;

/// The socket is readable.
pub fn receive(worker: *Worker, connection: *Connection) void {
    if (connection.phase == .lingering) return discard(worker, connection);
    const held = connection.input.length();
    const room = makeRoom(worker, connection) orelse return worker.close(connection);
    const limit = receiveLimit(connection, room.len);
    if (limit == 0) return output.proceed(worker, connection);
    const result = sys.receive(connection.fd, room[0..limit]);
    if (result < 0) {
        const code = sys.errno();
        if (code == sys.errno_again or code == sys.errno_interrupted) return;
        return worker.close(connection);
    }
    if (result == 0) return reachEnd(worker, connection);
    const count: usize = @intCast(result);
    types.bump(&worker.stats.bytes_received, count);
    connection.input.end += @intCast(count);
    switch (connection.phase) {
        .head => if (held == 0 or isWorthParsing(connection, count)) {
            _ = takeRequests(worker, connection);
        } else {
            // Still the same unfinished line; only the buffer grew.
            _ = keepRest(worker, connection);
            return;
        },
        .handed_over => if (!connection.decoder.isDone()) deliverBody(worker, connection),
        .answering, .lingering => {},
    }
    if (connection.fd >= 0) output.proceed(worker, connection);
}

fn isWorthParsing(connection: *const Connection, count: usize) bool {
    const bytes = connection.input.slice();
    if (std.mem.indexOfScalar(u8, bytes[bytes.len - count ..], '\n') != null) return true;
    return bytes.len >= connection.parsed_length + reparse_bytes;
}

/// Bytes to ask for. A body by length never pulls the next request into our memory before its time.
fn receiveLimit(connection: *const Connection, room: usize) usize {
    if (connection.phase != .handed_over or connection.decoder.isDone()) return room;
    if (connection.decoder.state == .length) {
        return @intCast(@min(room, connection.decoder.remaining, connection.credit));
    }
    // Chunk headers come on top of the credit; what is too much waits in the buffer.
    return @intCast(@min(room, connection.credit +| 64));
}

/// Where the next received bytes go: the shared buffer for a connection that holds nothing.
fn makeRoom(worker: *Worker, connection: *Connection) ?[]u8 {
    const in = &connection.input;
    if (in.length() == 0) {
        if (in.is_owned) worker.buffers.give(in.buffer);
        in.* = .{ .buffer = worker.shared };
        return worker.shared;
    }
    std.debug.assert(in.is_owned);
    if (in.end < in.buffer.len) return in.buffer[in.end..];
    const held = in.length();
    if (in.start > 0) {
        std.mem.copyForwards(u8, in.buffer[0..held], in.slice());
    } else {
        if (in.buffer.len == worker.buffers.large_bytes) return in.buffer[in.end..];
        const larger = worker.buffers.take(worker.buffers.large_bytes) orelse return null;
        @memcpy(larger[0..held], in.slice());
        worker.buffers.give(in.buffer);
        in.buffer = larger;
    }
    in.start = 0;
    in.end = @intCast(held);
    return in.buffer[held..];
}

/// Leftover bytes leave the shared buffer; an empty connection gives its own buffer back.
pub fn keepRest(worker: *Worker, connection: *Connection) bool {
    const in = &connection.input;
    const held = in.length();
    if (held == 0) {
        if (in.is_owned) worker.buffers.give(in.buffer);
        in.* = .{};
        return true;
    }
    if (in.is_owned) return true;
    const own = worker.buffers.take(held) orelse return false;
    @memcpy(own[0..held], in.slice());
    in.* = .{ .buffer = own, .end = @intCast(held), .is_owned = true };
    return true;
}

/// The client has shut its side, or is gone: TCP does not tell which.
fn reachEnd(worker: *Worker, connection: *Connection) void {
    connection.at_end = true;
    switch (connection.phase) {
        .head, .lingering => return worker.close(connection),
        // Nobody waits for this answer any more, or half of the body is missing.
        .handed_over => return worker.close(connection),
        // The kernel will say so when nobody takes the bytes.
        .answering => output.proceed(worker, connection),
    }
}

/// Reads and drops input after the last answer, within bounds of bytes and time.
pub fn discard(worker: *Worker, connection: *Connection) void {
    connection.input.skip(connection.input.length());
    _ = keepRest(worker, connection);
    const result = sys.receive(connection.fd, worker.shared);
    if (result < 0 and sys.errno() == sys.errno_again) return;
    if (result <= 0) return worker.close(connection);
    connection.parsed_length +|= @intCast(result);
    if (connection.parsed_length > linger_bytes_max) worker.close(connection);
}

/// Parses and answers requests from the buffered input until one has to wait or the batch is full.
/// True: something was taken, so that there may be something to send.
pub fn takeRequests(worker: *Worker, connection: *Connection) bool {
    var is_taken = false;
    while (connection.phase == .head and !connection.close_after and connection.input.length() > 0) {
        if (worker.batch_count == worker_of.batch_count_max) break;
        if (worker.out_length > worker_of.out_bytes / 2) break;
        const request = &worker.request;
        const bytes = connection.input.slice();
        switch (head_of.parse(bytes, worker.limits, &worker.fields, &request.head)) {
            .incomplete => {
                connection.parsed_length = @intCast(bytes.len);
                break;
            },
            .rejected => |status| hit.refuse(worker, connection, status),
            .complete => |length| {
                connection.parsed_length = 0;
                connection.head_started = false;
                const status = request_of.interpret(request);
                connection.input.skip(length);
                if (status != 0) {
                    hit.refuse(worker, connection, status);
                } else hit.answerRequest(worker, connection, request);
            },
        }
        is_taken = true;
    }
    return is_taken;
}

// ---------------------------------------------------------------- bodies

/// Turns buffered input into BODY events as far as Python's credit goes.
pub fn deliverBody(worker: *Worker, connection: *Connection) void {
    while (connection.phase == .handed_over and !connection.last_body_sent) {
        if (connection.bodies_out.load(.seq_cst) >= events.bodies_out_max) return;
        const capacity: usize = @intCast(@min(
            connection.credit,
            connection.input.length(),
            types.body_chunk_bytes_max,
        ));
        var builder = events.BodyBuilder.begin(connection, capacity) orelse return worker.close(connection);
        while (connection.input.length() > 0) {
            const room = capacity - builder.length;
            const step = connection.decoder.next(connection.input.slice(), room) catch {
                builder.drop();
                events.endRequest(worker, connection, -1);
                return hit.refuse(worker, connection, 400);
            };
            if (step.consumed == 0) break;
            builder.append(step.data);
            connection.input.skip(step.consumed);
        }
        connection.credit -= builder.length;
        const is_last = connection.decoder.isDone();
        if (builder.length == 0 and !is_last) return builder.drop();
        connection.last_body_sent = is_last;
        builder.push(worker, is_last);
    }
}

/// Takes the rest of a body that has arrived in full already; true when no byte of it is missing.
pub fn dropBody(connection: *Connection) bool {
    while (!connection.decoder.isDone() and connection.input.length() > 0) {
        const step = connection.decoder.next(connection.input.slice(), std.math.maxInt(u64)) catch return false;
        if (step.consumed == 0) return false;
        connection.input.skip(step.consumed);
    }
    return connection.decoder.isDone();
}
