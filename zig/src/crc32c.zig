//! CRC-32C (Castagnoli) of header and body bytes.
//!
//! Owns: the hardware path (SSE4.2, asked for at run time, since the build is for the baseline CPU) and
//! the table path. Never: decides what is covered.
//! Source: RFC 3720 appendix B.4 (polynomial and test vectors).

const std = @import("std");
const builtin = @import("builtin");
const Atomic = std.atomic.Value;

const polynomial: u32 = 0x82f63b78;

const table = blk: {
    @setEvalBranchQuota(20_000);
    var rows: [8][256]u32 = undefined;
    for (0..256) |i| {
        var value: u32 = i;
        for (0..8) |_| value = (value >> 1) ^ (polynomial & (0 -% (value & 1)));
        rows[0][i] = value;
    }
    for (1..8) |row| {
        for (0..256) |i| rows[row][i] = (rows[row - 1][i] >> 8) ^ rows[0][rows[row - 1][i] & 0xff];
    }
    break :blk rows;
};

/// 0: not asked yet, 1: no, 2: yes.
var hardware_known: Atomic(u8) = .init(0);

fn hasHardware() bool {
    if (builtin.cpu.arch != .x86_64) return false;
    const known = hardware_known.load(.monotonic);
    if (known != 0) return known == 2;
    var ecx: u32 = undefined;
    asm volatile ("cpuid"
        : [ecx] "={ecx}" (ecx),
        : [eax] "{eax}" (@as(u32, 1)),
          [sub] "{ecx}" (@as(u32, 0)),
        : .{ .eax = true, .ebx = true, .edx = true });
    const present = ecx & (1 << 20) != 0;
    hardware_known.store(if (present) 2 else 1, .monotonic);
    return present;
}

fn updateHardware(start: u32, bytes: []const u8) u32 {
    var state: u64 = start;
    var index: usize = 0;
    while (index + 8 <= bytes.len) : (index += 8) {
        const word = std.mem.readInt(u64, bytes[index..][0..8], .little);
        state = asm ("crc32q %[word], %[state]"
            : [state] "=r" (-> u64),
            : [word] "r" (word),
              [in] "0" (state),
        );
    }
    var tail: u32 = @truncate(state);
    while (index < bytes.len) : (index += 1) {
        tail = asm ("crc32b %[byte], %[state]"
            : [state] "=r" (-> u32),
            : [byte] "r" (bytes[index]),
              [in] "0" (tail),
        );
    }
    return tail;
}

fn updateTable(start: u32, bytes: []const u8) u32 {
    var state = start;
    var index: usize = 0;
    while (index + 8 <= bytes.len) : (index += 8) {
        const low = std.mem.readInt(u32, bytes[index..][0..4], .little) ^ state;
        const high = std.mem.readInt(u32, bytes[index + 4 ..][0..4], .little);
        state = table[7][low & 0xff] ^ table[6][(low >> 8) & 0xff] ^
            table[5][(low >> 16) & 0xff] ^ table[4][low >> 24] ^
            table[3][high & 0xff] ^ table[2][(high >> 8) & 0xff] ^
            table[1][(high >> 16) & 0xff] ^ table[0][high >> 24];
    }
    while (index < bytes.len) : (index += 1) {
        state = (state >> 8) ^ table[0][(state ^ bytes[index]) & 0xff];
    }
    return state;
}

/// Continues a checksum: extend(extend(0, a), b) == of(a ++ b).
pub fn extend(checksum: u32, bytes: []const u8) u32 {
    return if (hasHardware()) ~updateHardware(~checksum, bytes) else extendByTable(checksum, bytes);
}

/// The same without the hardware: what other CPUs run.
pub fn extendByTable(checksum: u32, bytes: []const u8) u32 {
    return ~updateTable(~checksum, bytes);
}

pub fn of(bytes: []const u8) u32 {
    return extend(0, bytes);
}
