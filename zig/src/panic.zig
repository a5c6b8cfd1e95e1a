//! Panic policy of the native library: one line on stderr, then abort.
//!
//! Owns: what a failed safety check or an explicit @panic does inside a host process.
//! Never: unwinding, stack traces, allocation. The default handler pulls a DWARF reader and a symbolizer into
//! the archive (megabytes that the system linker refuses); abort leaves a core dump and a debugger knows more.

const std = @import("std");

pub const panic = std.debug.FullPanic(abortWithMessage);

fn abortWithMessage(message: []const u8, return_address: ?usize) noreturn {
    @branchHint(.cold);
    var line: [512]u8 = undefined;
    const text = std.fmt.bufPrint(&line, "neurocache: native panic at 0x{x}: {s}\n", .{
        return_address orelse @returnAddress(),
        message[0..@min(message.len, 400)],
    }) catch "neurocache: native panic\n";
    _ = std.c.write(std.posix.STDERR_FILENO, text.ptr, text.len);
    std.c.abort();
}
