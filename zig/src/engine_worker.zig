//! One thread of the edge: its listener, its epoll set, its connections, its turn.
//!
//! Owns: the event loop, accepting, deadlines, closing, the turn's clocks. Never: the Python C API,
//! locks, blocking calls other than epoll_wait. Why one of everything for each thread: a hit then
//! touches no memory that another thread writes, except the slab's.
//!
//! A turn: epoll_wait, two clock reads, enter the slab's epoch, serve what is ready, leave. Objects named
//! inside a turn need a pin only when their bytes outlive it.

const std = @import("std");
const sys = @import("engine_sys.zig");
const types = @import("engine_types.zig");
const queue_of = @import("engine_queue.zig");
const connection_of = @import("engine_connection.zig");
const head_of = @import("http1_head.zig");
const date = @import("http1_date.zig");
const Request = @import("http1_request.zig").Request;
const Slab = @import("slab.zig").Slab;
const Engine = @import("engine_core.zig").Engine;
const Command = @import("engine_command.zig").Command;
const input = @import("engine_input.zig");
const output = @import("engine_output.zig");
const answer = @import("engine_answer.zig");
const events = @import("engine_event.zig");
const hit = @import("engine_hit.zig");
const Followers = @import("engine_followers.zig").Followers;
const Connection = connection_of.Connection;

const tag_listener = 0;
const tag_commands = 1;
const event_count_max = 256;
const accepts_per_turn_max = 64;
const accept_pause_ms = 100;
const linger_timeout_ms = 2_000;
const scan_interval_ms_max = 500;
const scan_interval_ms_min = 10;
const shared_bytes = 65536;
/// Heads and bodies of a corked batch; holds the largest head and still a small body.
pub const out_bytes = 131072;
pub const batch_count_max = 64;

/// A finished answer of the batch that waits for its flush.
pub const BatchEntry = struct { access: types.Access, started_us: u64, is_hit: bool };

pub const Worker = struct {
    engine: *Engine,
    slab: *Slab,
    number: u32,
    reader: u32,
    limits: head_of.Limits,
    epoll: i32 = -1,
    listener: i32 = -1,
    thread: ?std.Thread = null,
    commands: queue_of.Queue,
    stats: types.Stats align(128) = .{},
    access_ring: queue_of.Ring(types.Access) = .{},

    table: connection_of.Table = .{},
    buffers: connection_of.Buffers = .{},
    shared: []u8 = &.{},
    is_draining: bool = false,
    is_accept_due: bool = false,
    accept_resumes_ms: u64 = 0,
    next_scan_ms: u64 = 0,
    scan_interval_ms: u64,

    now_ms: u64 = 0,
    /// Steady microseconds of the newest clock read: set at the start of a turn and by each flush.
    now_us: u64 = 0,
    turn_us: u64 = 0,
    wall_turn_us: u64 = 0,
    wall_s: u64 = 0,
    date_s: u64 = 0,
    date_text: [date.imf_length]u8 = undefined,

    followers: Followers = .{},

    out_length: usize = 0,
    batch_count: usize = 0,
    request: Request = .{},
    fields: [head_of.field_count_ceiling]head_of.Field = undefined,
    key: [types.key_bytes_max]u8 = undefined,
    batch: [batch_count_max]BatchEntry = undefined,
    out: [out_bytes]u8 = undefined,

    pub fn run(self: *Worker) void {
        sys.blockSignals();
        var ready: [event_count_max]sys.EpollEvent = undefined;
        while (!self.engine.is_stopping.load(.acquire)) {
            const count = sys.epoll_wait(self.epoll, &ready, event_count_max, self.timeoutMs());
            self.readClocks();
            self.slab.enter(self.reader);
            for (ready[0..@intCast(@max(count, 0))]) |event| self.serve(event.events, event.data.u64);
            // Last: a record that was closed above may still be named by an event of this turn, which
            // must not hit the client that takes the record next.
            if (self.is_accept_due) self.acceptClients();
            self.followers.wake(self);
            if (self.now_ms >= self.next_scan_ms) self.scanDeadlines();
            if (!self.is_draining and self.engine.is_draining.load(.acquire)) self.beginDrain();
            self.slab.leave(self.reader);
        }
        self.slab.enter(self.reader);
        self.closeAll();
        self.slab.leave(self.reader);
    }

    fn timeoutMs(self: *Worker) c_int {
        if (self.accept_resumes_ms != 0) return scan_interval_ms_min;
        if (self.stats.connections_open == 0) return -1;
        return @intCast(self.scan_interval_ms);
    }

    pub fn readClocks(self: *Worker) void {
        self.turn_us = sys.steadyMicroseconds();
        self.wall_turn_us = sys.wallMicroseconds();
        self.now_us = self.turn_us;
        self.now_ms = self.turn_us / 1000;
        self.wall_s = self.wall_turn_us / 1_000_000;
    }

    /// Wall microseconds of the newest clock read.
    pub fn wallUs(self: *const Worker) u64 {
        return self.wall_turn_us + (self.now_us - self.turn_us);
    }

    pub fn dateText(self: *Worker) []const u8 {
        if (self.date_s != self.wall_s) {
            self.date_s = self.wall_s;
            date.format(&self.date_text, self.wall_s);
        }
        return &self.date_text;
    }

    fn serve(self: *Worker, ready: u32, tag: u64) void {
        switch (tag) {
            tag_listener => self.is_accept_due = true,
            tag_commands => self.takeCommands(),
            else => {
                const connection: *Connection = @ptrFromInt(tag);
                // Closed by an earlier event of this turn.
                if (connection.fd < 0) return;
                connection.sent_in_turn = 0;
                if (ready & (sys.EPOLLERR | sys.EPOLLHUP) != 0 and ready & sys.EPOLLIN == 0) {
                    return self.close(connection);
                }
                if (ready & sys.EPOLLOUT != 0) output.proceed(self, connection);
                if (connection.fd >= 0 and ready & sys.EPOLLIN != 0) input.receive(self, connection);
            },
        }
    }

    fn takeCommands(self: *Worker) void {
        self.commands.unsignal();
        while (self.commands.pop()) |node| {
            const command: *Command = @fieldParentPtr("node", node);
            answer.execute(self, command);
        }
    }

    // ------------------------------------------------------------ accepting

    pub fn watchOwn(self: *Worker) bool {
        return sys.watch(self.epoll, self.listener, sys.EPOLLIN, tag_listener) and
            sys.watch(self.epoll, self.commands.event_fd, sys.EPOLLIN, tag_commands);
    }

    fn acceptClients(self: *Worker) void {
        self.is_accept_due = false;
        for (0..accepts_per_turn_max) |_| if (!self.acceptOne()) return;
    }

    fn acceptOne(self: *Worker) bool {
        if (self.listener < 0) return false;
        var address = sys.Address{};
        const fd = sys.accept(self.listener, &address);
        if (fd < 0) {
            const code = sys.errno();
            if (!sys.isExhausted(code)) return code != sys.errno_again;
            // Out of descriptors: the listener stays readable, so look away for a while.
            sys.rewatch(self.epoll, self.listener, 0, tag_listener);
            self.accept_resumes_ms = self.now_ms + accept_pause_ms;
            return false;
        }
        types.bump(&self.stats.connections_accepted, 1);
        const open = self.engine.connection_count.fetchAdd(1, .monotonic);
        const connection = if (open < self.engine.options.connections_max) self.table.take() else null;
        if (connection) |record| {
            if (self.adopt(record, fd, &address)) return true;
            self.table.give(record);
        }
        _ = self.engine.connection_count.fetchSub(1, .monotonic);
        self.turnAway(fd);
        return true;
    }

    fn adopt(self: *Worker, connection: *Connection, fd: i32, address: *const sys.Address) bool {
        if (!sys.watch(self.epoll, fd, sys.EPOLLIN, @intFromPtr(connection))) return false;
        sys.sendWithoutDelay(fd);
        connection.fd = fd;
        connection.watched = sys.EPOLLIN;
        connection.peer_family = address.copyTo(&connection.peer_address);
        connection.peer_port = address.port();
        // The low half of the keyed 128-bit hash serves as the client's 64-bit name.
        connection.client_hash = self.slab.hashKey(&connection.peer_address).lo;
        connection.deadline_ms = self.now_ms + self.engine.options.idle_timeout_ms;
        types.bump(&self.stats.connections_open, 1);
        return true;
    }

    fn turnAway(self: *Worker, fd: i32) void {
        types.bump(&self.stats.connections_refused, 1);
        types.bump(&self.stats.shed, 1);
        const text = hit.refusalText(self, 503, &self.out);
        _ = sys.sendVectors(fd, &.{.{ .base = text.ptr, .length = text.len }});
        _ = sys.shutdown(fd, sys.SHUT_WR);
        // What has arrived is read, or closing would reset the connection under the answer.
        _ = sys.receive(fd, self.shared);
        _ = sys.close(fd);
    }

    // ------------------------------------------------------------ closing

    pub fn close(self: *Worker, connection: *Connection) void {
        self.followers.remove(connection);
        events.endRequest(self, connection, -1);
        connection.source.release(self.slab);
        connection.pending.deinit();
        if (connection.input.is_owned) self.buffers.give(connection.input.buffer);
        _ = sys.close(connection.fd);
        _ = self.engine.connection_count.fetchSub(1, .monotonic);
        types.bump(&self.stats.connections_open, @as(u64, 0) -% 1);
        self.table.give(connection);
    }

    /// Shuts our side and reads on for a while: a reset on unread input would take the answer away.
    pub fn linger(self: *Worker, connection: *Connection) void {
        connection.phase = .lingering;
        connection.parsed_length = 0;
        _ = sys.shutdown(connection.fd, sys.SHUT_WR);
        if (connection.at_end) return self.close(connection);
        connection.deadline_ms = self.now_ms + linger_timeout_ms;
        input.discard(self, connection);
        if (connection.fd >= 0) output.updateInterest(self, connection);
    }

    /// Also after the thread has ended: commands may have come in since.
    pub fn closeAll(self: *Worker) void {
        for (0..self.table.used) |index| {
            const connection = self.table.at(@intCast(index)).?;
            if (connection.fd >= 0) self.close(connection);
        }
        while (self.commands.pop()) |node| {
            const command: *Command = @fieldParentPtr("node", node);
            answer.discard(self, command);
        }
        if (self.listener >= 0) _ = sys.close(self.listener);
        self.listener = -1;
    }

    fn beginDrain(self: *Worker) void {
        self.is_draining = true;
        // Clients that completed the handshake are served; the kernel resets those left in the backlog.
        while (self.acceptOne()) {}
        if (self.listener >= 0) _ = sys.close(self.listener);
        self.listener = -1;
        self.accept_resumes_ms = 0;
        for (0..self.table.used) |index| {
            const connection = self.table.at(@intCast(index)).?;
            if (connection.fd < 0 or connection.phase != .head or connection.is_blocked) continue;
            if (connection.input.length() == 0 and !sys.hasBytes(connection.fd)) self.close(connection);
        }
    }

    // ------------------------------------------------------------ deadlines

    fn scanDeadlines(self: *Worker) void {
        self.next_scan_ms = self.now_ms + self.scan_interval_ms;
        if (self.accept_resumes_ms != 0 and self.now_ms >= self.accept_resumes_ms) {
            self.accept_resumes_ms = 0;
            if (self.listener >= 0) sys.rewatch(self.epoll, self.listener, sys.EPOLLIN, tag_listener);
        }
        if (self.accept_resumes_ms != 0) self.next_scan_ms = self.accept_resumes_ms;
        for (0..self.table.used) |index| {
            const connection = self.table.at(@intCast(index)).?;
            if (connection.fd < 0 or connection.deadline_ms == 0) continue;
            if (self.now_ms >= connection.deadline_ms) self.expire(connection);
        }
    }

    fn expire(self: *Worker, connection: *Connection) void {
        if (connection.is_blocked) {
            types.bump(&self.stats.timeouts_send, 1);
            return self.close(connection);
        }
        switch (connection.phase) {
            .head => if (connection.head_started) {
                hit.refuse(self, connection, 408);
                output.proceed(self, connection);
            } else {
                types.bump(&self.stats.timeouts_idle, 1);
                self.close(connection);
            },
            .handed_over => {
                types.bump(&self.stats.timeouts_body, 1);
                events.endRequest(self, connection, -1);
                hit.refuse(self, connection, 408);
                output.proceed(self, connection);
            },
            .answering, .lingering => self.close(connection),
        }
    }

    // ------------------------------------------------------------ construction

    pub fn init(self: *Worker, engine: *Engine, number: u32, listener: i32, reader: u32) !void {
        const options = &engine.options;
        const shortest = @min(
            @min(options.header_timeout_ms, options.idle_timeout_ms),
            @min(options.body_timeout_ms, options.send_timeout_ms),
        );
        self.* = .{
            .engine = engine,
            .slab = engine.slab,
            .number = number,
            .reader = reader,
            .listener = listener,
            .commands = undefined,
            .scan_interval_ms = std.math.clamp(shortest / 4, scan_interval_ms_min, scan_interval_ms_max),
            .limits = .{
                .request_line_bytes_max = options.request_line_bytes_max,
                .header_bytes_max = options.header_bytes_max,
                .field_count_max = options.field_count_max,
            },
        };
        try self.commands.init();
        errdefer self.commands.deinit();
        self.epoll = sys.createEpoll();
        if (self.epoll < 0) return error.System;
        errdefer _ = sys.close(self.epoll);
        if (!self.watchOwn()) return error.System;
        try self.table.init(options.connections_max);
        errdefer self.table.deinit();
        self.buffers.large_bytes = @max(shared_bytes, self.limits.headBytesMax() + 1);
        const raw = sys.malloc(self.buffers.large_bytes) orelse return error.NoMemory;
        self.shared = @as([*]u8, @ptrCast(raw))[0..self.buffers.large_bytes];
        errdefer sys.free(raw);
        if (options.access_ring_count == 0) return;
        const share = @max(options.access_ring_count / options.thread_count, 1);
        const count = std.math.floorPowerOfTwo(u32, share);
        const slots = sys.malloc(@as(usize, count) * @sizeOf(types.Access)) orelse return error.NoMemory;
        self.access_ring.slots = @as([*]types.Access, @ptrCast(@alignCast(slots)))[0..count];
    }

    /// After the thread has ended, or when it never ran.
    pub fn deinit(self: *Worker) void {
        self.closeAll();
        self.table.deinit();
        self.buffers.deinit();
        sys.free(self.shared.ptr);
        if (self.access_ring.slots.len > 0) sys.free(self.access_ring.slots.ptr);
        _ = sys.close(self.epoll);
        self.commands.deinit();
    }
};
