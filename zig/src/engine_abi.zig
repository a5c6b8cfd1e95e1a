//! The C ABI of the engine: nc_engine_*, nc_request_*, nc_event_* of neurocache.h.
//!
//! Owns: translation of pointers and errors. Never: logic.

const types = @import("engine_types.zig");
const Slab = @import("slab.zig").Slab;
const Engine = @import("engine_core.zig").Engine;

const Status = types.Status;

fn bytesOf(pointer: ?[*]const u8, length: u64) []const u8 {
    return if (pointer) |start| start[0..@intCast(length)] else "";
}

export fn nc_engine_create(
    slab: *Slab,
    options: *const types.Options,
    out: *?*Engine,
    out_errno: ?*i32,
) Status {
    var code: i32 = 0;
    out.* = null;
    defer if (out_errno) |target| {
        target.* = code;
    };
    out.* = Engine.create(slab, options, &code) catch |err| return switch (err) {
        error.Invalid => types.invalid,
        error.System => types.system,
        error.NoMemory => types.no_memory,
        error.TooManyReaders => types.full,
    };
    return types.ok;
}

export fn nc_engine_start(engine: *Engine, out_errno: ?*i32) Status {
    if (out_errno) |target| target.* = 0;
    engine.start() catch |err| return switch (err) {
        error.WrongState => types.wrong_state,
        error.System => types.system,
    };
    return types.ok;
}

export fn nc_engine_port(engine: *const Engine) u32 {
    return engine.port;
}

export fn nc_engine_event_fd(engine: *const Engine) i32 {
    return engine.events.event_fd;
}

export fn nc_engine_drain(engine: *Engine) Status {
    engine.drain();
    return types.ok;
}

export fn nc_engine_stop(engine: *Engine) Status {
    engine.stop();
    return types.ok;
}

export fn nc_engine_destroy(engine: ?*Engine) void {
    if (engine) |self| self.destroy();
}

export fn nc_engine_poll(engine: *Engine, out: [*]*types.Event, count: u32) u32 {
    return @intCast(engine.poll(out[0..count]));
}

export fn nc_event_free(engine: *Engine, event: ?*types.Event) void {
    if (event) |one| engine.freeEvent(one);
}

export fn nc_request_inform(
    engine: *Engine,
    request: u64,
    status: u16,
    fields: ?[*]const u8,
    fields_length: u32,
) Status {
    return engine.inform(request, status, bytesOf(fields, fields_length));
}

export fn nc_request_read(engine: *Engine, request: u64, count: u64) Status {
    return engine.read(request, count);
}

export fn nc_request_answer(engine: *Engine, request: u64, answer: *const types.Answer) Status {
    return engine.answer(request, answer);
}

export fn nc_request_write(engine: *Engine, request: u64, data: ?[*]const u8, length: u64) Status {
    return engine.write(request, bytesOf(data, length));
}

export fn nc_request_finish(engine: *Engine, request: u64) Status {
    return engine.finish(request);
}

export fn nc_request_abort(engine: *Engine, request: u64) Status {
    return engine.abort(request);
}

export fn nc_engine_notify_fill(engine: *Engine, fill: u64) Status {
    engine.notifyFill(fill);
    return types.ok;
}

export fn nc_engine_poll_access(engine: *Engine, out: [*]types.Access, count: u32) u32 {
    return @intCast(engine.pollAccess(out[0..count]));
}

export fn nc_engine_read_stats(engine: *Engine, out: *types.Stats) void {
    engine.readStats(out);
}

const Api = extern struct {
    create: *const @TypeOf(nc_engine_create) = nc_engine_create,
    start: *const @TypeOf(nc_engine_start) = nc_engine_start,
    port: *const @TypeOf(nc_engine_port) = nc_engine_port,
    event_fd: *const @TypeOf(nc_engine_event_fd) = nc_engine_event_fd,
    drain: *const @TypeOf(nc_engine_drain) = nc_engine_drain,
    stop: *const @TypeOf(nc_engine_stop) = nc_engine_stop,
    destroy: *const @TypeOf(nc_engine_destroy) = nc_engine_destroy,
    poll: *const @TypeOf(nc_engine_poll) = nc_engine_poll,
    event_free: *const @TypeOf(nc_event_free) = nc_event_free,
    inform: *const @TypeOf(nc_request_inform) = nc_request_inform,
    read: *const @TypeOf(nc_request_read) = nc_request_read,
    answer: *const @TypeOf(nc_request_answer) = nc_request_answer,
    write: *const @TypeOf(nc_request_write) = nc_request_write,
    finish: *const @TypeOf(nc_request_finish) = nc_request_finish,
    abort: *const @TypeOf(nc_request_abort) = nc_request_abort,
    notify_fill: *const @TypeOf(nc_engine_notify_fill) = nc_engine_notify_fill,
    poll_access: *const @TypeOf(nc_engine_poll_access) = nc_engine_poll_access,
    read_stats: *const @TypeOf(nc_engine_read_stats) = nc_engine_read_stats,
};

const api = Api{};

export fn nc_engine_get_api() *const Api {
    return &api;
}
