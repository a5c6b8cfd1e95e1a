//! Root of the native library: gathers what leaves it through the C ABI.
//!
//! Owns: the list of exported modules and the panic policy. Never: logic.

pub const panic = @import("panic.zig").panic;
pub const abi_version: u32 = 1;

export fn nc_abi_version() u32 {
    return abi_version;
}

/// The slab's parts, for the tests in zig/test.
pub const slab = struct {
    pub const catalog = @import("catalog.zig");
    pub const crc32c = @import("crc32c.zig");
    pub const epoch = @import("epoch.zig");
    pub const fill = @import("fill.zig");
    pub const index = @import("index.zig");
    pub const memory = @import("memory.zig");
    pub const object = @import("object.zig");
    pub const size_class = @import("size_class.zig");
    pub const space = @import("space.zig");
    pub const stats = @import("stats.zig");
    pub const Options = @import("slab.zig").Options;
    pub const Slab = @import("slab.zig").Slab;
};

/// The request parser, for the tests in zig/test.
pub const http1 = struct {
    pub const body = @import("http1_body.zig");
    pub const conditional = @import("http1_conditional.zig");
    pub const head = @import("http1_head.zig");
    pub const request = @import("http1_request.zig");
};

/// The engine's queues, for the race tests in zig/test.
pub const engine = struct {
    pub const queue = @import("engine_queue.zig");
};

comptime {
    _ = @import("slab_abi.zig");
    _ = @import("engine_abi.zig");
}
