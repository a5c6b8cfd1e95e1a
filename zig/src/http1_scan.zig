//! Byte classes of HTTP/1.1 and the vector scans over them.
//!
//! Owns: which bytes may stand in a token, a target and a field value (RFC 9110 section 5.6.2,
//! RFC 9112 section 3, RFC 9110 section 5.5), case-insensitive comparison, strict decimal numbers.
//! Never: state, allocation, any knowledge of messages. Why: every other http1 file must agree on
//! these classes, and one table each makes disagreement impossible.

const std = @import("std");

const lane_count = 16; // SSE2 and NEON are the baseline of the targets
const Lanes = @Vector(lane_count, u8);
const Mask = @Int(.unsigned, lane_count);

const token_table: [256]bool = blk: {
    var table: [256]bool = @splat(false);
    for ("!#$%&'*+-.^_`|~0123456789") |c| table[c] = true;
    for ('a'..'z' + 1) |c| table[c] = true;
    for ('A'..'Z' + 1) |c| table[c] = true;
    break :blk table;
};

pub fn isTokenByte(byte: u8) bool {
    return token_table[byte];
}

/// True for 1 or more token bytes and nothing else.
pub fn isToken(bytes: []const u8) bool {
    return bytes.len > 0 and tokenEnd(bytes, 0) == bytes.len;
}

/// Index of the first byte at or after `start` that is no token byte; the length when all are.
pub fn tokenEnd(bytes: []const u8, start: usize) usize {
    var i = start;
    while (i < bytes.len and token_table[bytes[i]]) i += 1;
    return i;
}

/// Index of the first byte at or after `start` that may not stand in a field value: a control
/// character other than HTAB, or DEL. Bytes from 0x80 are obs-text and allowed.
pub fn valueEnd(bytes: []const u8, start: usize) usize {
    var i = start;
    while (i + lane_count <= bytes.len) : (i += lane_count) {
        const lanes: Lanes = bytes[i..][0..lane_count].*;
        const control: Mask = @bitCast(lanes < @as(Lanes, @splat(0x20)));
        const tab: Mask = @bitCast(lanes == @as(Lanes, @splat('\t')));
        const delete: Mask = @bitCast(lanes == @as(Lanes, @splat(0x7f)));
        const bad = (control & ~tab) | delete;
        if (bad != 0) return i + @ctz(bad);
    }
    while (i < bytes.len) : (i += 1) {
        const c = bytes[i];
        if ((c < 0x20 and c != '\t') or c == 0x7f) return i;
    }
    return i;
}

/// Index of the first byte at or after `start` that is no visible ASCII (0x21..0x7e).
pub fn visibleEnd(bytes: []const u8, start: usize) usize {
    var i = start;
    while (i + lane_count <= bytes.len) : (i += lane_count) {
        const lanes: Lanes = bytes[i..][0..lane_count].*;
        // Subtracting 0x21 folds both bounds into one comparison: 0x21..0x7e becomes 0..0x5d.
        const bad: Mask = @bitCast(lanes -% @as(Lanes, @splat(0x21)) > @as(Lanes, @splat(0x5d)));
        if (bad != 0) return i + @ctz(bad);
    }
    while (i < bytes.len) : (i += 1) if (bytes[i] < 0x21 or bytes[i] > 0x7e) return i;
    return i;
}

pub fn lower(byte: u8) u8 {
    return if (byte >= 'A' and byte <= 'Z') byte | 0x20 else byte;
}

/// `wanted` is lower case.
pub fn equalsIgnoringCase(bytes: []const u8, wanted: []const u8) bool {
    if (bytes.len != wanted.len) return false;
    for (bytes, wanted) |a, b| if (lower(a) != b) return false;
    return true;
}

/// Without spaces and tabs at both ends (OWS, RFC 9110 section 5.6.3).
pub fn trim(bytes: []const u8) []const u8 {
    return std.mem.trim(u8, bytes, " \t");
}

/// A number of 1 to 18 decimal digits; null for anything else (sign, space, prefix, underscore).
pub fn parseDecimal(bytes: []const u8) ?u64 {
    if (bytes.len == 0 or bytes.len > 18) return null;
    var value: u64 = 0;
    for (bytes) |c| {
        if (c < '0' or c > '9') return null;
        value = value * 10 + (c - '0');
    }
    return value;
}

/// Writes `value` in decimal at the start of `out` (20 bytes suffice) and gives its length.
pub fn writeDecimal(out: []u8, value: u64) usize {
    var digits: [20]u8 = undefined;
    var at: usize = digits.len;
    var rest = value;
    while (true) {
        at -= 1;
        digits[at] = '0' + @as(u8, @intCast(rest % 10));
        rest /= 10;
        if (rest == 0) break;
    }
    const length = digits.len - at;
    @memcpy(out[0..length], digits[at..]);
    return length;
}

/// Elements of a comma-separated list (RFC 9110 section 5.6.1), trimmed, empty ones left out.
/// Quoted strings are not respected: only for lists of tokens.
pub const TokenList = struct {
    rest: []const u8,

    pub fn next(self: *TokenList) ?[]const u8 {
        while (self.rest.len > 0) {
            const comma = std.mem.indexOfScalar(u8, self.rest, ',') orelse self.rest.len;
            const element = trim(self.rest[0..comma]);
            self.rest = self.rest[@min(comma + 1, self.rest.len)..];
            if (element.len > 0) return element;
        }
        return null;
    }
};

test "value scan agrees with the definition at every offset" {
    var bytes: [80]u8 = @splat('a');
    for (0..80) |at| {
        for (0..256) |c| {
            bytes[at] = @intCast(c);
            const bad = (c < 0x20 and c != 9) or c == 0x7f;
            try std.testing.expectEqual(if (bad) at else 80, valueEnd(&bytes, 0));
            const hidden = c < 0x21 or c > 0x7e;
            try std.testing.expectEqual(if (hidden) at else 80, visibleEnd(&bytes, 0));
        }
        bytes[at] = 'a';
    }
}

test "decimals are digits and nothing else" {
    for ([_][]const u8{ "", "+5", "-1", "0x5", "5_0", " 5", "5 ", "1234567890123456789" }) |bad| {
        try std.testing.expectEqual(null, parseDecimal(bad));
    }
    try std.testing.expectEqual(5, parseDecimal("005"));
    var out: [20]u8 = undefined;
    for ([_]u64{ 0, 9, 10, 1 << 40, std.math.maxInt(u64) }) |value| {
        const length = writeDecimal(&out, value);
        try std.testing.expectEqual(value, try std.fmt.parseInt(u64, out[0..length], 10));
    }
}
