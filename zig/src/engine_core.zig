//! The engine as a whole: its threads, its queue of events, and Python's half of each request.
//!
//! Owns: creation, start, drain, stop; the checks that Python's thread makes before a command goes to
//! the connection's thread. Never: sockets of clients.

const std = @import("std");
const Atomic = std.atomic.Value;
const sys = @import("engine_sys.zig");
const types = @import("engine_types.zig");
const queue_of = @import("engine_queue.zig");
const head_of = @import("http1_head.zig");
const events = @import("engine_event.zig");
const indexOf = @import("engine_answer.zig").indexOf;
const Slab = @import("slab.zig").Slab;
const Worker = @import("engine_worker.zig").Worker;
const Connection = @import("engine_connection.zig").Connection;
const Command = @import("engine_command.zig").Command;
const CommandKind = @import("engine_command.zig").Kind;

/// Threads keep little on their stacks; the default of 16 MiB would only be address space.
const thread_stack_bytes = 512 * 1024;
const header_bytes_ceiling = 1 << 20;

pub const CreateError = error{ Invalid, System, NoMemory, TooManyReaders };

const Life = enum(u8) { created, running, stopped };

pub const Engine = struct {
    slab: *Slab,
    options: types.Options,
    port: u16 = 0,
    life: Life = .created,
    workers: []*Worker = &.{},
    events: queue_of.Queue,
    is_stopping: Atomic(bool) align(64) = .init(false),
    is_draining: Atomic(bool) = .init(false),
    connection_count: Atomic(u32) align(64) = .init(0),
    requests_in_flight: Atomic(u32) align(64) = .init(0),

    pub fn create(slab: *Slab, options: *const types.Options, errno: *i32) CreateError!*Engine {
        if (!areValid(options)) return error.Invalid;
        const self = std.heap.c_allocator.create(Engine) catch return error.NoMemory;
        errdefer std.heap.c_allocator.destroy(self);
        self.* = .{ .slab = slab, .options = options.*, .events = undefined };
        self.options.host = null;
        self.events.init() catch |err| {
            errno.* = sys.errno();
            return err;
        };
        errdefer self.events.deinit();
        const workers = std.heap.c_allocator.alloc(*Worker, options.thread_count) catch return error.NoMemory;
        self.workers = workers[0..0];
        errdefer std.heap.c_allocator.free(workers);
        errdefer for (self.workers) |worker| self.dropWorker(worker);
        var port: u16 = @intCast(options.port);
        for (0..options.thread_count) |number| {
            var address = sys.Address.parse(options.host.?, port) orelse return error.Invalid;
            workers[number] = self.makeWorker(&address, @intCast(number)) catch |err| {
                errno.* = sys.errno();
                return err;
            };
            self.workers = workers[0 .. number + 1];
            port = address.port();
        }
        self.port = port;
        return self;
    }

    fn makeWorker(self: *Engine, address: *sys.Address, number: u32) CreateError!*Worker {
        const listener = sys.listenOn(address);
        if (listener < 0) return error.System;
        errdefer _ = sys.close(listener);
        const reader = try self.slab.registerReader();
        errdefer self.slab.unregisterReader(reader);
        const worker = std.heap.c_allocator.create(Worker) catch return error.NoMemory;
        errdefer std.heap.c_allocator.destroy(worker);
        try worker.init(self, number, listener, reader);
        return worker;
    }

    fn dropWorker(self: *Engine, worker: *Worker) void {
        worker.deinit();
        self.slab.unregisterReader(worker.reader);
        std.heap.c_allocator.destroy(worker);
    }

    fn areValid(options: *const types.Options) bool {
        return options.host != null and options.port <= 65535 and
            options.thread_count >= 1 and options.thread_count <= types.thread_count_max and
            options.connections_max >= 1 and options.connections_max <= types.connections_ceiling and
            options.requests_in_flight_max >= 1 and
            options.requests_in_flight_max <= types.requests_in_flight_ceiling and
            options.request_line_bytes_max >= 16 and options.request_line_bytes_max <= header_bytes_ceiling and
            options.header_bytes_max >= 16 and options.header_bytes_max <= header_bytes_ceiling and
            options.field_count_max >= 1 and options.field_count_max <= head_of.field_count_ceiling and
            options.header_timeout_ms > 0 and options.idle_timeout_ms > 0 and
            options.body_timeout_ms > 0 and options.send_timeout_ms > 0 and
            options.access_ring_count <= 1 << 24 and
            (options.access_ring_count == 0 or std.math.isPowerOfTwo(options.access_ring_count));
    }

    pub fn start(self: *Engine) error{ WrongState, System }!void {
        if (self.life != .created) return error.WrongState;
        self.life = .running;
        for (self.workers) |worker| {
            worker.thread = std.Thread.spawn(
                .{ .stack_size = thread_stack_bytes },
                Worker.run,
                .{worker},
            ) catch {
                self.stop();
                return error.System;
            };
        }
    }

    pub fn drain(self: *Engine) void {
        self.is_draining.store(true, .release);
        for (self.workers) |worker| worker.commands.wake();
    }

    /// Idempotent; returns when no thread runs any more.
    pub fn stop(self: *Engine) void {
        self.is_stopping.store(true, .release);
        for (self.workers) |worker| worker.commands.wake();
        for (self.workers) |worker| {
            if (worker.thread) |thread| thread.join();
            worker.thread = null;
        }
        if (self.life == .stopped) return;
        self.life = .stopped;
        // From here on the slab may be closed: nothing of it is touched any more.
        for (self.workers) |worker| {
            worker.closeAll();
            self.slab.unregisterReader(worker.reader);
        }
    }

    pub fn destroy(self: *Engine) void {
        self.stop();
        const count = self.workers.len;
        for (self.workers) |worker| {
            worker.deinit();
            std.heap.c_allocator.destroy(worker);
        }
        while (self.events.pop()) |node| sys.free(@as(*events.Blob, @fieldParentPtr("node", node)));
        self.events.deinit();
        std.heap.c_allocator.free(self.workers.ptr[0..count]);
        std.heap.c_allocator.destroy(self);
    }

    // ------------------------------------------------------------ events

    pub fn poll(self: *Engine, out: []*types.Event) usize {
        var count: usize = 0;
        while (count < out.len) {
            const node = self.events.pop() orelse node: {
                self.events.unsignal();
                break :node self.events.pop() orelse break;
            };
            out[count] = &@as(*events.Blob, @fieldParentPtr("node", node)).event;
            count += 1;
        }
        // What was not taken must show on the descriptor, which unsignal may have cleared.
        if (count == out.len) self.events.wake();
        return count;
    }

    pub fn freeEvent(self: *Engine, event: *types.Event) void {
        const blob: *events.Blob = @fieldParentPtr("event", event);
        switch (event.kind) {
            types.EventKind.closed => _ = self.requests_in_flight.fetchSub(1, .monotonic),
            types.EventKind.body => {
                const before = blob.connection.bodies_out.fetchSub(1, .seq_cst);
                if (before == events.bodies_out_max) self.resumeBody(event.request);
            },
            else => {},
        }
        sys.free(blob);
    }

    fn resumeBody(self: *Engine, request: u64) void {
        const worker = self.workerOf(request) orelse return;
        const command = Command.create(.resume_body, request, "") orelse
            @panic("out of memory for a body to go on");
        worker.commands.push(&command.node);
    }

    // ------------------------------------------------------------ commands

    fn workerOf(self: *const Engine, request: u64) ?*Worker {
        const number = request >> 56;
        return if (number < self.workers.len) self.workers[@intCast(number)] else null;
    }

    fn connectionOf(self: *const Engine, request: u64) ?*Connection {
        if (request == 0) return null;
        const worker = self.workerOf(request) orelse return null;
        const connection = worker.table.at(indexOf(request)) orelse return null;
        return if (connection.current.load(.acquire) == request) connection else null;
    }

    fn send(self: *Engine, kind: CommandKind, request: u64, count: u64, bytes: []const u8) types.Status {
        const command = Command.create(kind, request, bytes) orelse return types.no_memory;
        command.count = count;
        command.status = @truncate(count);
        self.workerOf(request).?.commands.push(&command.node);
        return types.ok;
    }

    pub fn inform(self: *Engine, request: u64, status: u16, fields: []const u8) types.Status {
        if (status < 100 or status > 199 or status == 101) return types.invalid;
        if (fields.len > types.answer_fields_bytes_max) return types.invalid;
        const connection = self.connectionOf(request) orelse return types.not_found;
        if (connection.answered_request == request) return types.wrong_state;
        return self.send(.inform, request, status, fields);
    }

    pub fn read(self: *Engine, request: u64, count: u64) types.Status {
        const connection = self.connectionOf(request) orelse return types.not_found;
        if (connection.answered_request == request) return types.wrong_state;
        return self.send(.read, request, count, "");
    }

    pub fn answer(self: *Engine, request: u64, spec: *const types.Answer) types.Status {
        if (spec.status < 200 or spec.status > 599 or spec.outcome >= types.Outcome.count) return types.invalid;
        if (spec.fields_length > types.answer_fields_bytes_max) return types.invalid;
        const connection = self.connectionOf(request) orelse return types.not_found;
        if (connection.answered_request == request) return types.wrong_state;
        const fields: []const u8 = if (spec.fields) |pointer| pointer[0..spec.fields_length] else "";
        const command = Command.create(.answer, request, fields) orelse return types.no_memory;
        command.answer = spec.*;
        if (spec.object != 0) {
            const object = self.slab.pinHandle(spec.object) orelse {
                command.destroy();
                return types.invalid;
            };
            const length = object.bodyLength();
            const end = std.math.add(u64, spec.offset, if (spec.length == types.length_unknown) 0 else spec.length);
            const is_inside = if (end) |last| length == types.length_unknown or last <= length else |_| false;
            if (!is_inside) {
                self.slab.unpin(object);
                command.destroy();
                return types.invalid;
            }
            command.object = object;
        }
        connection.answered_request = request;
        self.workerOf(request).?.commands.push(&command.node);
        return types.ok;
    }

    pub fn write(self: *Engine, request: u64, bytes: []const u8) types.Status {
        const connection = self.connectionOf(request) orelse return types.not_found;
        if (connection.answered_request != request) return types.wrong_state;
        // An empty chunk would be the end of a chunked body.
        if (bytes.len == 0) return types.ok;
        return self.send(.write, request, 0, bytes);
    }

    pub fn finish(self: *Engine, request: u64) types.Status {
        const connection = self.connectionOf(request) orelse return types.not_found;
        if (connection.answered_request != request) return types.wrong_state;
        return self.send(.finish, request, 0, "");
    }

    pub fn abort(self: *Engine, request: u64) types.Status {
        _ = self.connectionOf(request) orelse return types.not_found;
        return self.send(.abort, request, 0, "");
    }

    pub fn notifyFill(self: *Engine, handle: u64) void {
        for (self.workers) |worker| worker.followers.notify(handle, &worker.commands);
    }

    // ------------------------------------------------------------ accounts

    pub fn pollAccess(self: *Engine, out: []types.Access) usize {
        var count: usize = 0;
        for (self.workers) |worker| count += worker.access_ring.take(out[count..]);
        return count;
    }

    pub fn readStats(self: *const Engine, out: *types.Stats) void {
        out.* = .{};
        for (self.workers) |worker| out.add(&worker.stats);
        out.requests_in_flight = self.requests_in_flight.load(.monotonic);
    }
};
