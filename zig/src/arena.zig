//! The arena: one mapping of memory or of a file, cut into pages of 1 MiB.
//!
//! Owns: the mapping, the file and its lock, page 0 (superblock and the class of every page). Never: what
//! stands in the other pages. The superblock is written twice, A and B, each with its checksum: the seam
//! for attaching an arena again. Today an existing file is initialised anew, under an exclusive lock.

const std = @import("std");
const memory = @import("memory.zig");
const size_class = @import("size_class.zig");
const crc32c = @import("crc32c.zig");
const c = std.c;

pub const page_bytes = size_class.page_bytes;
pub const pages_min = 8;
pub const bytes_max: u64 = 256 << 30;
const magic: u64 = 0x314245_4152434e; // "NCRAEB1" in memory order
const schema: u32 = 1;
const superblock_spacing = 4096;
const class_map_offset = 2 * superblock_spacing;

const Superblock = extern struct {
    magic: u64,
    schema: u32,
    header_bytes: u32,
    arena_bytes: u64,
    hash_key: [2]u64,
    sequence: u64,
    clean: u32,
    crc32c: u32,
};

pub const Arena = struct {
    bytes: memory.Region,
    file: c.fd_t,

    /// `errno` gets the reason of error.System; EWOULDBLOCK when another process holds the file.
    pub fn open(
        failpoint: *memory.Failpoint,
        path: ?[*:0]const u8,
        length: u64,
        hash_key: [2]u64,
        errno: *i32,
    ) (memory.Error || error{System})!Arena {
        var self: Arena = .{ .bytes = undefined, .file = -1 };
        if (path) |name| {
            try self.openFile(failpoint, name, length, errno);
        } else {
            self.bytes = try memory.map(failpoint, length);
        }
        @memset(self.bytes[0..page_bytes], 0);
        self.writeSuperblocks(hash_key);
        return self;
    }

    fn openFile(
        self: *Arena,
        failpoint: *memory.Failpoint,
        name: [*:0]const u8,
        length: u64,
        errno: *i32,
    ) (memory.Error || error{System})!void {
        if (!failpoint.passes()) return error.NoMemory;
        const flags: c.O = .{ .ACCMODE = .RDWR, .CREAT = true, .CLOEXEC = true };
        self.file = c.open(name, flags, @as(c.mode_t, 0o600));
        if (self.file < 0) return fail(errno);
        errdefer _ = c.close(self.file);
        if (c.flock(self.file, c.LOCK.EX | c.LOCK.NB) != 0) return fail(errno);
        if (c.ftruncate(self.file, @intCast(length)) != 0) return fail(errno);
        // Reserved now: a full disk must be an error here, not SIGBUS in the middle of a store.
        const reserved = posix_fallocate(self.file, 0, @intCast(length));
        if (reserved != 0) {
            errno.* = reserved;
            return error.System;
        }
        const protection: c.PROT = .{ .READ = true, .WRITE = true };
        const address = c.mmap(null, length, protection, .{ .TYPE = .SHARED }, self.file, 0);
        if (address == c.MAP_FAILED) return fail(errno);
        self.bytes = @as([*]align(memory.os_page_bytes) u8, @ptrCast(@alignCast(address)))[0..length];
    }

    fn fail(errno: *i32) error{System} {
        errno.* = c._errno().*;
        return error.System;
    }

    fn writeSuperblocks(self: *Arena, hash_key: [2]u64) void {
        for (0..2) |copy| {
            const block: *Superblock = @ptrCast(@alignCast(self.bytes[copy * superblock_spacing ..].ptr));
            block.* = .{
                .magic = magic,
                .schema = schema,
                .header_bytes = @import("object.zig").header_bytes,
                .arena_bytes = self.bytes.len,
                .hash_key = hash_key,
                .sequence = copy,
                .clean = 0,
                .crc32c = 0,
            };
            block.crc32c = crc32c.of(std.mem.asBytes(block)[0..@offsetOf(Superblock, "crc32c")]);
        }
    }

    pub fn close(self: *Arena) void {
        memory.unmap(self.bytes);
        if (self.file >= 0) _ = c.close(self.file);
    }

    pub fn pageCount(self: *const Arena) u32 {
        return @intCast(self.bytes.len / page_bytes);
    }

    /// Written beside each change of a page's class, so that an attach can find the headers.
    pub fn recordClass(self: *Arena, page: u32, class: u8) void {
        self.bytes[class_map_offset + page] = class +% 1;
    }

    comptime {
        std.debug.assert(class_map_offset + bytes_max / page_bytes <= page_bytes);
    }
};

extern "c" fn posix_fallocate(fd: c.fd_t, offset: c.off_t, length: c.off_t) c_int;
