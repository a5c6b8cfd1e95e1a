//! Answers that the engine gives by itself: hits from the slab, refusals, and the hand-over of the rest.
//!
//! Owns: which requests are plain hits, and every byte of a native response head. Never: system calls,
//! the freshness rules (the object says until when it is fresh; RFC 9111 was applied when it was stored).
//! Request directives such as Cache-Control: no-cache do not bypass a fresh hit: they express wishes
//! (RFC 9111 section 5.2.1), and honouring them would let any client reach the origin at will.

const std = @import("std");
const types = @import("engine_types.zig");
const object_of = @import("object.zig");
const request_of = @import("http1_request.zig");
const conditional = @import("http1_conditional.zig");
const body = @import("http1_body.zig");
const events = @import("engine_event.zig");
const output = @import("engine_output.zig");
const text_of = @import("engine_text.zig");
const Worker = @import("engine_worker.zig").Worker;
const Connection = @import("engine_connection.zig").Connection;
const Request = request_of.Request;
const Object = object_of.Object;
const Hash = object_of.Hash;
const Writer = text_of.Writer;

/// Smaller bodies are copied behind their head, so that pipelined hits leave in one send.
const copied_body_bytes_max = 16384;
/// Everything in a native head but the stored fields.
const head_overhead_bytes_max = 512;
const cache_name = "NeuroCache";

/// A valid head: a hit is answered, everything else goes to Python.
pub fn answerRequest(worker: *Worker, connection: *Connection, request: *Request) void {
    types.bump(&worker.stats.requests, 1);
    connection.is_head_method = request.method == .head;
    connection.minor_version = request.head.minor_version;
    connection.close_after = !request.keep_alive or worker.is_draining;
    connection.close_after_quietly = !request.keep_alive;
    connection.says_keep_alive = request.keep_alive and request.head.minor_version == 0;
    connection.decoder = .{};
    const key_length = request.writeKey(&worker.key) orelse return refuse(worker, connection, 414);
    const key = worker.key[0..key_length];
    const hash = worker.slab.hashKey(key);
    const found = worker.slab.find(hash, key);
    if (found) |object| {
        if (isPlainHit(worker, request, object)) return answerHit(worker, connection, request, object);
    }
    handOver(worker, connection, request, key, hash, found != null);
}

fn isPlainHit(worker: *const Worker, request: *const Request, object: *const Object) bool {
    if (request.method != .get and request.method != .head) return false;
    if (request.hasBody() or request.has(.upgrade)) return false;
    // Preconditions that only an origin can evaluate (RFC 9111 section 4.3.2).
    if (request.has(.if_match) or request.has(.if_unmodified_since)) return false;
    const flags = object.flags();
    if (flags & object_of.flag_needs_python != 0) return false;
    if (request.has(.authorization) and flags & object_of.flag_authorized_ok == 0) return false;
    return worker.wall_s < object.expires() and object.state() == .live;
}

fn answerHit(worker: *Worker, connection: *Connection, request: *const Request, object: *Object) void {
    worker.slab.touch(object);
    const length = object.bodyLength();
    const decision: conditional.Decision = if (object.status() != 200) .full else conditional.decide(request, .{
        .etag = object.etag(),
        .last_modified_s = object.lastModified(),
        .length = length,
    }, worker.wall_s);
    types.bump(&worker.stats.hits_native, 1);
    var access = types.Access{
        .hash = .{ object.hash.lo, object.hash.hi },
        .client_hash = connection.client_hash,
        .object = worker.slab.handleOf(object),
        .outcome = if (object.takePrefetched()) types.Outcome.prefetched else types.Outcome.hit,
        .status = object.status(),
        .flags = if (connection.is_head_method) types.AccessFlag.head else 0,
    };
    var first: u64 = 0;
    var end: u64 = length;
    switch (decision) {
        .full => {},
        .not_modified => {
            access.status = 304;
            access.flags |= types.AccessFlag.not_modified;
            types.bump(&worker.stats.hits_not_modified, 1);
        },
        .partial => |range| {
            first = range.first;
            end = range.last + 1;
            access.status = 206;
            access.flags |= types.AccessFlag.partial;
            types.bump(&worker.stats.hits_partial, 1);
        },
        .unsatisfiable => {
            access.status = 416;
            end = 0;
        },
    }
    writeHitHead(worker, connection, object, decision, access.status, end - first);
    const has_body = !connection.is_head_method and access.status != 304 and
        object.flags() & object_of.flag_bodiless == 0;
    sendHitBody(worker, connection, object, &access, first, if (has_body) end else first);
}

fn writeHitHead(
    worker: *Worker,
    connection: *Connection,
    object: *const Object,
    decision: conditional.Decision,
    status: u16,
    length: u64,
) void {
    const fields: []const u8 = switch (decision) {
        .not_modified => object.fields304(),
        .unsatisfiable => "",
        else => object.fields(),
    };
    var writer = Writer{ .buffer = output.reserve(worker, connection, fields.len + head_overhead_bytes_max) };
    writer.statusLine(status);
    if (status != 304 and object.flags() & object_of.flag_bodiless == 0) writer.contentLength(length);
    switch (decision) {
        .partial => |range| {
            writer.text("Content-Range: bytes ");
            writer.number(range.first);
            writer.text("-");
            writer.number(range.last);
            writer.text("/");
            writer.number(object.bodyLength());
            writer.text("\r\n");
        },
        .unsatisfiable => {
            writer.text("Content-Range: bytes */");
            writer.number(object.bodyLength());
            writer.text("\r\nDate: ");
            writer.text(worker.dateText());
            writer.text("\r\n");
        },
        else => {},
    }
    writer.text(fields);
    writer.text("Age: ");
    writer.number(worker.wall_s -| object.born());
    writer.text("\r\nCache-Status: " ++ cache_name ++ "; hit");
    const expires = object.expires();
    if (expires != types.time_never) {
        writer.text("; ttl=");
        writer.number(expires -| worker.wall_s);
    }
    writer.text("\r\n");
    writer.endHead(connection.close_after, connection.says_keep_alive);
    output.commit(worker, writer.length);
}

fn sendHitBody(
    worker: *Worker,
    connection: *Connection,
    object: *Object,
    access: *types.Access,
    first: u64,
    end: u64,
) void {
    if (end - first <= copied_body_bytes_max) {
        var at = first;
        while (at < end) {
            const chunk = worker.slab.chunkAt(object, at);
            const count: usize = @intCast(@min(chunk.len, end - at));
            output.emit(worker, connection, chunk[0..count]);
            at += count;
        }
        access.body_bytes = end - first;
        return output.addToBatch(worker, access, worker.now_us, true);
    }
    connection.access = access.*;
    connection.is_native = true;
    connection.started_us = worker.now_us;
    connection.phase = .answering;
    connection.source = .{
        .kind = .object,
        .object = object,
        .handle = access.object,
        .position = first,
        .run_end = first,
        .end = end,
    };
}

// ---------------------------------------------------------------- refusals

/// A whole response that says no and closes; also the access record and the count.
pub fn refuse(worker: *Worker, connection: *Connection, status: u16) void {
    countRefusal(&worker.stats, status);
    var scratch: [head_overhead_bytes_max]u8 = undefined;
    output.emit(worker, connection, refusalText(worker, status, &scratch));
    connection.phase = .head;
    connection.close_after = true;
    connection.close_after_quietly = false;
    connection.input.skip(connection.input.length());
    const access = types.Access{
        .client_hash = connection.client_hash,
        .outcome = types.Outcome.err,
        .status = status,
    };
    output.addToBatch(worker, &access, worker.now_us, false);
}

fn countRefusal(stats: *types.Stats, status: u16) void {
    const counter = switch (status) {
        408 => &stats.rejected_408,
        414 => &stats.rejected_414,
        431 => &stats.rejected_431,
        501 => &stats.rejected_501,
        505 => &stats.rejected_505,
        503 => &stats.shed,
        else => &stats.rejected_400,
    };
    types.bump(counter, 1);
}

/// Writes a response with "Connection: close" for `status` to `out`.
pub fn refusalText(worker: *Worker, status: u16, out: []u8) []const u8 {
    const phrase = text_of.reason(status);
    var writer = Writer{ .buffer = out };
    writer.statusLine(status);
    writer.text("Date: ");
    writer.text(worker.dateText());
    writer.text("\r\nContent-Type: text/plain\r\n");
    writer.contentLength(phrase.len + 1);
    if (status == 503) writer.text("Retry-After: 1\r\n");
    writer.text("Cache-Status: " ++ cache_name ++ "; detail=");
    writer.text(if (status == 503) "overloaded" else "refused");
    writer.text("\r\n");
    writer.endHead(true, false);
    writer.text(phrase);
    writer.text("\n");
    return writer.buffer[0..writer.length];
}

/// 503 for a request that Python has no room for. The connection stays where nothing is left to read.
fn shed(worker: *Worker, connection: *Connection, request: *const Request, hash: Hash) void {
    if (request.hasBody()) return refuse(worker, connection, 503);
    types.bump(&worker.stats.shed, 1);
    var writer = Writer{ .buffer = output.reserve(worker, connection, head_overhead_bytes_max) };
    writer.statusLine(503);
    writer.text("Date: ");
    writer.text(worker.dateText());
    writer.text("\r\nContent-Length: 0\r\nRetry-After: 1\r\n");
    writer.text("Cache-Status: " ++ cache_name ++ "; detail=overloaded\r\n");
    writer.endHead(connection.close_after, connection.says_keep_alive);
    output.commit(worker, writer.length);
    const access = types.Access{
        .hash = .{ hash.lo, hash.hi },
        .client_hash = connection.client_hash,
        .outcome = types.Outcome.err,
        .status = 503,
        .flags = if (connection.is_head_method) types.AccessFlag.head else 0,
    };
    output.addToBatch(worker, &access, worker.now_us, false);
}

// ---------------------------------------------------------------- hand-over

fn handOver(
    worker: *Worker,
    connection: *Connection,
    request: *const Request,
    key: []const u8,
    hash: Hash,
    is_known: bool,
) void {
    const engine = worker.engine;
    const before = engine.requests_in_flight.fetchAdd(1, .monotonic);
    if (before >= engine.options.requests_in_flight_max) {
        _ = engine.requests_in_flight.fetchSub(1, .monotonic);
        return shed(worker, connection, request, hash);
    }
    connection.decoder = if (request.is_chunked)
        body.Decoder.initChunked()
    else
        body.Decoder.initLength(request.content_length);
    connection.credit = 0;
    connection.last_body_sent = false;
    connection.continue_due = request.expects_continue;
    connection.started_us = worker.now_us;
    connection.is_native = false;
    connection.access = .{
        .hash = .{ hash.lo, hash.hi },
        .client_hash = connection.client_hash,
        .flags = if (connection.is_head_method) types.AccessFlag.head else 0,
    };
    connection.phase = .handed_over;
    if (!events.pushRequest(worker, connection, request, key, hash, is_known)) {
        _ = engine.requests_in_flight.fetchSub(1, .monotonic);
        return refuse(worker, connection, 503);
    }
    types.bump(&worker.stats.handed_over, 1);
}
