//! Python's answers, carried out on the connection's thread.
//!
//! Owns: framing of answers (Content-Length, Transfer-Encoding, Connection), and what each command does.
//! Never: runs on Python's thread; that half is engine_core.zig. A command for a request that is over
//! is dropped, and its pin given back.

const std = @import("std");
const types = @import("engine_types.zig");
const events = @import("engine_event.zig");
const input = @import("engine_input.zig");
const output = @import("engine_output.zig");
const text_of = @import("engine_text.zig");
const Worker = @import("engine_worker.zig").Worker;
const Connection = @import("engine_connection.zig").Connection;
const Command = @import("engine_command.zig").Command;

const head_overhead_bytes_max = 512;

pub fn indexOf(request: u64) u32 {
    return @intCast(request >> 32 & 0xffffff);
}

/// Frees the command, except for chunks, which then belong to the answer.
pub fn execute(worker: *Worker, command: *Command) void {
    if (command.kind == .wake) return command.destroy();
    const connection = worker.table.at(indexOf(command.request)) orelse return discard(worker, command);
    if (connection.fd < 0) return discard(worker, command);
    if (command.kind == .resume_body) {
        // It names the connection: the event that came back may belong to an earlier request.
        command.destroy();
        if (connection.phase != .handed_over) return;
        input.deliverBody(worker, connection);
        if (connection.fd >= 0) output.proceed(worker, connection);
        return;
    }
    if (connection.request != command.request) return discard(worker, command);
    connection.sent_in_turn = 0;
    switch (command.kind) {
        .inform => inform(worker, connection, command),
        .read => grant(worker, connection, command.count),
        .answer => begin(worker, connection, command),
        .write => return write(worker, connection, command),
        .finish => finish(worker, connection),
        .abort => worker.close(connection),
        .resume_body, .wake => unreachable,
    }
    command.destroy();
}

/// Drops a command that has no request any more.
pub fn discard(worker: *Worker, command: *Command) void {
    if (command.object) |object| worker.slab.unpin(object);
    command.destroy();
}

fn inform(worker: *Worker, connection: *Connection, command: *Command) void {
    if (connection.minor_version == 0 or connection.phase != .handed_over) return;
    const fields = command.data();
    var writer = text_of.Writer{
        .buffer = output.reserve(worker, connection, fields.len + head_overhead_bytes_max),
    };
    writer.statusLine(command.status);
    writer.text(fields);
    writer.text("\r\n");
    output.commit(worker, writer.length);
    types.bump(&worker.stats.status_class[1], 1);
    if (command.status == 100) connection.continue_due = false;
    output.proceed(worker, connection);
}

fn grant(worker: *Worker, connection: *Connection, count: u64) void {
    if (connection.phase != .handed_over) return;
    connection.credit +|= count;
    if (connection.continue_due) {
        connection.continue_due = false;
        // A client that sends already does not wait for permission (RFC 9110 section 10.1.1).
        if (connection.input.length() == 0) {
            output.emit(worker, connection, "HTTP/1.1 100 Continue\r\n\r\n");
            types.bump(&worker.stats.status_class[1], 1);
        }
    }
    input.deliverBody(worker, connection);
    if (connection.fd >= 0) output.proceed(worker, connection);
}

fn begin(worker: *Worker, connection: *Connection, command: *Command) void {
    const answer = &command.answer;
    if (connection.phase != .handed_over) {
        if (command.object) |object| worker.slab.unpin(object);
        return;
    }
    connection.phase = .answering;
    connection.access.status = answer.status;
    connection.access.outcome = answer.outcome;
    connection.access.object = answer.object;
    if (answer.status == 206) connection.access.flags |= types.AccessFlag.partial;
    if (answer.status == 304) connection.access.flags |= types.AccessFlag.not_modified;
    if (answer.close != 0 or worker.is_draining) closeLater(connection);
    // A body that nobody read would be taken for the next request.
    if (!connection.decoder.isDone() and !input.dropBody(connection)) {
        closeLater(connection);
        connection.decoder = .{};
        connection.input.skip(connection.input.length());
    }
    const length = bodyLengthOf(command);
    const is_bodiless = connection.is_head_method or answer.status == 204 or answer.status == 304;
    const is_delimited = length != types.length_unknown;
    const is_chunked = !is_delimited and !is_bodiless and connection.minor_version == 1;
    if (!is_delimited and !is_bodiless and !is_chunked) closeLater(connection);
    writeHead(worker, connection, command, length, is_chunked);
    if (is_bodiless or length == 0) {
        if (command.object) |object| worker.slab.unpin(object);
    } else if (command.object) |object| {
        connection.source = .{
            .kind = .object,
            .is_chunked = is_chunked,
            .is_pinned = true,
            .object = object,
            .handle = answer.object,
            .position = answer.offset,
            .run_end = answer.offset,
            .end = if (is_delimited) answer.offset + length else types.length_unknown,
        };
    } else {
        connection.source = .{ .kind = .stream, .is_chunked = is_chunked, .promised = length };
    }
    output.proceed(worker, connection);
}

/// A response that ends because of us and not because the client asked: linger, do not cut.
fn closeLater(connection: *Connection) void {
    if (!connection.close_after) connection.close_after_quietly = false;
    connection.close_after = true;
}

/// The length of the answer's body where it is known, if only by the object.
fn bodyLengthOf(command: *const Command) u64 {
    const answer = &command.answer;
    if (answer.length != types.length_unknown) return answer.length;
    const object = command.object orelse return types.length_unknown;
    const length = object.bodyLength();
    if (length == types.length_unknown) return types.length_unknown;
    return length -| answer.offset;
}

fn writeHead(
    worker: *Worker,
    connection: *Connection,
    command: *Command,
    length: u64,
    is_chunked: bool,
) void {
    const fields = command.data();
    const status = command.answer.status;
    var writer = text_of.Writer{
        .buffer = output.reserve(worker, connection, fields.len + head_overhead_bytes_max),
    };
    writer.statusLine(status);
    // RFC 9110 section 8.6: none with 204; with 304 and HEAD what a 200 to GET would say.
    if (length != types.length_unknown and status != 204 and !(status == 304 and length == 0)) {
        writer.contentLength(length);
    }
    if (is_chunked) writer.text("Transfer-Encoding: chunked\r\n");
    writer.text(fields);
    writer.endHead(connection.close_after, connection.says_keep_alive);
    output.commit(worker, writer.length);
}

fn write(worker: *Worker, connection: *Connection, command: *Command) void {
    if (connection.phase != .answering or connection.source.kind != .stream or connection.source.is_finished) {
        return discard(worker, command);
    }
    // More than promised: the client must not take the rest for the next response.
    if (!connection.source.enqueue(command)) return worker.close(connection);
    if (connection.is_blocked) return;
    output.proceed(worker, connection);
}

fn finish(worker: *Worker, connection: *Connection) void {
    if (connection.phase != .answering or connection.source.kind != .stream) return;
    if (!connection.source.finish()) return worker.close(connection);
    if (connection.is_blocked) return;
    output.proceed(worker, connection);
}
