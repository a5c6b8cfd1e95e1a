//! What Python tells a thread about a request: one malloc'd node for each call.
//!
//! Owns: the node, its copied bytes and the room for chunk framing around them. Never: effects; see
//! engine_answer.zig for those.

const std = @import("std");
const sys = @import("engine_sys.zig");
const types = @import("engine_types.zig");
const Node = @import("engine_queue.zig").Node;
const Object = @import("slab.zig").Object;

pub const Kind = enum(u8) {
    inform,
    read,
    answer,
    write,
    finish,
    abort,
    /// BODY events came back after the bound was reached.
    resume_body,
    /// Followers of fills look again; which ones is in the thread's own word.
    wake,
};

/// Longest chunk header: 16 digits and CRLF; 2 more bytes for the CRLF behind the data.
const frame_room = 18;
const tail_room = 2;

pub const Command = struct {
    node: Node = .{},
    kind: Kind,
    request: u64,
    /// read: bytes granted.
    count: u64 = 0,
    status: u16 = 0,
    answer: types.Answer = undefined,
    /// answer: pinned by the caller's thread.
    object: ?*Object = null,
    /// Bytes copied from the caller; they follow the node, with room for framing.
    length: usize = 0,
    framed_at: usize = 0,
    framed_end: usize = 0,
    following: ?*Command = null,

    pub fn create(kind: Kind, request: u64, bytes: []const u8) ?*Command {
        const size = @sizeOf(Command) + frame_room + bytes.len + tail_room;
        const raw = sys.malloc(size) orelse return null;
        const self: *Command = @ptrCast(@alignCast(raw));
        self.* = .{ .kind = kind, .request = request, .length = bytes.len };
        @memcpy(self.area()[frame_room..][0..bytes.len], bytes);
        return self;
    }

    pub fn destroy(self: *Command) void {
        sys.free(self);
    }

    fn area(self: *Command) []u8 {
        const start: [*]u8 = @ptrCast(self);
        return start[@sizeOf(Command)..][0 .. frame_room + self.length + tail_room];
    }

    pub fn data(self: *Command) []const u8 {
        return self.area()[frame_room..][0..self.length];
    }

    /// Puts the chunk header in front of the data and CRLF behind it, or nothing.
    pub fn frameAs(self: *Command, is_chunked: bool) void {
        self.framed_at = frame_room;
        self.framed_end = frame_room + self.length;
        if (!is_chunked) return;
        var header: [frame_room]u8 = undefined;
        const text = std.fmt.bufPrint(&header, "{x}\r\n", .{self.length}) catch unreachable;
        self.framed_at = frame_room - text.len;
        @memcpy(self.area()[self.framed_at..frame_room], text);
        @memcpy(self.area()[self.framed_end..][0..2], "\r\n");
        self.framed_end += 2;
    }

    pub fn framedRest(self: *Command) []const u8 {
        return self.area()[self.framed_at..self.framed_end];
    }
};
