//! From answers to the socket: the corked batch, partial writes, bodies, what comes after.
//!
//! Owns: every send, the order of bytes on a connection, the end of an answer. Never: what the answers
//! say. At most one send for a batch of pipelined answers; no probing for EAGAIN: a short write says it.

const std = @import("std");
const sys = @import("engine_sys.zig");
const types = @import("engine_types.zig");
const source_of = @import("engine_source.zig");
const worker_of = @import("engine_worker.zig");
const events = @import("engine_event.zig");
const input = @import("engine_input.zig");
const Worker = worker_of.Worker;
const Connection = @import("engine_connection.zig").Connection;

/// Bytes one connection may send in one turn before the others get theirs.
const turn_bytes_max = 2 << 20;
const send_bytes_max = 1 << 20;
/// Pipelined bytes kept while a request is in work; beyond, the socket is left unread.
const follow_up_bytes_max = 16384;

pub const Progress = enum { done, blocked, starved, dead };

/// Room for `count` bytes at the end of the thread's output, which belongs to this connection.
pub fn reserve(worker: *Worker, connection: *Connection, count: usize) []u8 {
    if (worker.out.len - worker.out_length < count) spill(worker, connection);
    return worker.out[worker.out_length..];
}

pub fn commit(worker: *Worker, count: usize) void {
    worker.out_length += count;
}

pub fn emit(worker: *Worker, connection: *Connection, bytes: []const u8) void {
    @memcpy(reserve(worker, connection, bytes.len)[0..bytes.len], bytes);
    commit(worker, bytes.len);
}

/// Moves the thread's output to the connection, behind what waits there.
fn spill(worker: *Worker, connection: *Connection) void {
    if (!connection.pending.append(worker.out[0..worker.out_length])) connection.is_broken = true;
    worker.out_length = 0;
}

pub fn addToBatch(worker: *Worker, access: *const types.Access, started_us: u64, is_hit: bool) void {
    worker.batch[worker.batch_count] = .{ .access = access.*, .started_us = started_us, .is_hit = is_hit };
    worker.batch_count += 1;
}

/// Sends as much as the kernel takes.
fn flush(worker: *Worker, connection: *Connection) Progress {
    if (connection.is_broken) return .dead;
    while (true) {
        var vectors = source_of.Vectors{};
        vectors.add(connection.pending.slice());
        vectors.add(worker.out[0..worker.out_length]);
        var state: source_of.State = .finished;
        if (connection.source.kind != .none) {
            state = connection.source.gather(worker.slab, &vectors, send_bytes_max);
            if (state == .failed) return .dead;
        }
        if (vectors.count == 0) {
            if (state != .starved) return .done;
            connection.source.pin(worker.slab);
            return .starved;
        }
        const result = sys.sendVectors(connection.fd, vectors.items[0..vectors.count]);
        if (result < 0) {
            const code = sys.errno();
            if (code == sys.errno_interrupted) continue;
            if (code != sys.errno_again) return .dead;
        }
        const count: usize = @intCast(@max(result, 0));
        connection.sent_in_turn +|= @intCast(count);
        types.bump(&worker.stats.bytes_sent, count);
        if (count == vectors.bytes and connection.source.kind == .none) {
            worker.out_length = 0;
            connection.pending.deinit();
            return .done;
        }
        if (!consume(worker, connection, count)) return .dead;
        if (count < vectors.bytes or connection.sent_in_turn >= turn_bytes_max) {
            if (connection.source.kind == .none and connection.pending.slice().len == 0) return .done;
            connection.source.pin(worker.slab);
            return .blocked;
        }
    }
}

fn consume(worker: *Worker, connection: *Connection, count: usize) bool {
    var left = count;
    const waiting = @min(connection.pending.slice().len, left);
    connection.pending.at += waiting;
    left -= waiting;
    if (connection.pending.slice().len == 0) connection.pending.deinit();
    const from_out = @min(worker.out_length, left);
    left -= from_out;
    const rest = worker.out[from_out..worker.out_length];
    worker.out_length = 0;
    if (!connection.pending.append(rest)) return false;
    if (left > 0) connection.source.advance(left);
    return true;
}

/// Sends, ends answers, and goes on with pipelined requests until the connection has to wait. The one
/// place where a connection settles at the end of what happened to it.
pub fn proceed(worker: *Worker, connection: *Connection) void {
    // Whatever woke it, it parks again when its fill has still nothing: the list it stands in is found
    // by the body's source, which may end below.
    worker.followers.remove(connection);
    while (true) {
        const progress = flush(worker, connection);
        recordBatch(worker);
        switch (progress) {
            .dead => {
                worker.out_length = 0;
                return worker.close(connection);
            },
            .blocked => {
                if (connection.sent_in_turn > 0 or !connection.is_blocked) {
                    connection.deadline_ms = worker.now_ms + worker.engine.options.send_timeout_ms;
                }
                connection.is_blocked = true;
                if (!announceRoom(worker, connection)) return worker.close(connection);
                break;
            },
            .starved => {
                connection.is_blocked = false;
                connection.deadline_ms = 0;
                if (!announceRoom(worker, connection)) return worker.close(connection);
                if (connection.source.kind == .object and !worker.followers.park(connection)) continue;
                break;
            },
            .done => {
                connection.is_blocked = false;
                if (connection.phase == .answering) endAnswer(worker, connection);
                if (connection.phase == .lingering) break;
                if (connection.phase == .head and connection.close_after) return endConnection(worker, connection);
                if (connection.phase == .head and connection.input.length() > 0) {
                    if (connection.sent_in_turn >= turn_bytes_max) {
                        // The others first: the socket is writable, so the next turn comes back here.
                        connection.is_blocked = true;
                        break;
                    }
                    if (input.takeRequests(worker, connection)) continue;
                }
                break;
            },
        }
    }
    settle(worker, connection);
}

fn announceRoom(worker: *Worker, connection: *Connection) bool {
    if (!connection.source.takeWritable()) return true;
    return events.pushWritable(worker, connection);
}

fn endAnswer(worker: *Worker, connection: *Connection) void {
    connection.access.body_bytes = connection.source.sent;
    connection.source.release(worker.slab);
    worker.now_us = sys.steadyMicroseconds();
    recordAccess(worker, &connection.access, connection.started_us, connection.is_native, !connection.is_native);
    events.endRequest(worker, connection, 0);
    connection.phase = .head;
    connection.head_started = false;
    connection.parsed_length = 0;
}

fn endConnection(worker: *Worker, connection: *Connection) void {
    // A client that asked for the end sends nothing more: closing cannot hurt the answer then.
    if (connection.close_after_quietly and connection.input.length() == 0) return worker.close(connection);
    worker.linger(connection);
}

/// Deadline, ownership of leftover input, and what epoll shall watch.
fn settle(worker: *Worker, connection: *Connection) void {
    const options = &worker.engine.options;
    if (!input.keepRest(worker, connection)) return worker.close(connection);
    if (connection.at_end and !connection.is_blocked) switch (connection.phase) {
        .head => return worker.close(connection),
        // The rest of this body can never come: nobody watches the socket any more.
        .handed_over => if (!connection.decoder.isDone() and connection.input.length() == 0) {
            return worker.close(connection);
        },
        .answering, .lingering => {},
    };
    if (!connection.is_blocked) switch (connection.phase) {
        .head => if (connection.input.length() > 0) {
            if (!connection.head_started) connection.deadline_ms = worker.now_ms + options.header_timeout_ms;
            connection.head_started = true;
        } else {
            connection.head_started = false;
            connection.deadline_ms = worker.now_ms + options.idle_timeout_ms;
        },
        .handed_over => {
            const is_waiting = connection.credit > 0 and !connection.decoder.isDone() and wantsBody(connection);
            connection.deadline_ms = if (is_waiting) worker.now_ms + options.body_timeout_ms else 0;
        },
        .answering => connection.deadline_ms = 0,
        .lingering => {},
    };
    updateInterest(worker, connection);
}

fn wantsBody(connection: *const Connection) bool {
    return connection.credit > 0 and connection.bodies_out.load(.monotonic) < events.bodies_out_max;
}

pub fn updateInterest(worker: *Worker, connection: *Connection) void {
    const wanted: u32 = if (connection.phase == .lingering)
        sys.EPOLLIN
    else if (connection.is_blocked)
        sys.EPOLLOUT
    else if (connection.at_end) 0 else switch (connection.phase) {
        .head => sys.EPOLLIN,
        .handed_over, .answering => if (!connection.decoder.isDone())
            (if (connection.phase == .handed_over and wantsBody(connection)) sys.EPOLLIN else 0)
        else if (connection.input.length() < follow_up_bytes_max) sys.EPOLLIN else 0,
        .lingering => unreachable,
    };
    if (wanted == connection.watched) return;
    connection.watched = wanted;
    sys.rewatch(worker.epoll, connection.fd, wanted, @intFromPtr(connection));
}

// ---------------------------------------------------------------- accounts

fn recordBatch(worker: *Worker) void {
    if (worker.batch_count == 0) return;
    worker.now_us = sys.steadyMicroseconds();
    for (worker.batch[0..worker.batch_count]) |*entry| {
        recordAccess(worker, &entry.access, entry.started_us, entry.is_hit, false);
    }
    worker.batch_count = 0;
}

fn recordAccess(worker: *Worker, access: *types.Access, started_us: u64, is_hit: bool, is_other: bool) void {
    const stats = &worker.stats;
    const duration_us = worker.now_us -| started_us;
    access.duration_us = std.math.cast(u32, duration_us) orelse std.math.maxInt(u32);
    access.time_us = worker.wallUs();
    types.bump(&stats.outcomes[access.outcome], 1);
    types.bump(&stats.status_class[access.status / 100], 1);
    const bucket = @min(64 - @as(usize, @clz(duration_us)), types.duration_buckets - 1);
    if (is_hit) {
        types.bump(&stats.hit_duration[bucket], 1);
        types.bump(&stats.hit_duration_sum_us, duration_us);
    } else if (is_other) {
        types.bump(&stats.other_duration[bucket], 1);
        types.bump(&stats.other_duration_sum_us, duration_us);
    }
    if (worker.access_ring.slots.len == 0) return;
    if (worker.access_ring.push(access)) {
        types.bump(&stats.access_recorded, 1);
    } else types.bump(&stats.access_dropped, 1);
}
