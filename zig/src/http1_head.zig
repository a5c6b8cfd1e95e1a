//! Strict sans-IO parser of HTTP/1.1 request heads (RFC 9112 sections 2 to 5).
//!
//! Owns: from bytes to request line and field lines, and the answer for what is malformed. The same
//! bytes give the same result however they were split (limits are checked before content).
//! Never: sockets, allocation, meaning of fields beyond their syntax (http1_request.zig has that).
//! Why strict: every leniency here is a second reading somewhere else, and two readings of one
//! message are request smuggling. CRLF only, no obs-fold, no space before the colon.

const std = @import("std");
const scan = @import("http1_scan.zig");

/// Same layout as nc_field.
pub const Field = extern struct {
    name_offset: u32,
    name_length: u32,
    value_offset: u32,
    value_length: u32,

    pub fn name(self: Field, bytes: []const u8) []const u8 {
        return bytes[self.name_offset..][0..self.name_length];
    }

    pub fn value(self: Field, bytes: []const u8) []const u8 {
        return bytes[self.value_offset..][0..self.value_length];
    }
};

/// Hard ceiling for field_count_max: tables of this length lie in each thread.
pub const field_count_ceiling = 1024;

pub const Limits = struct {
    /// Request line without its CRLF; beyond: 414.
    request_line_bytes_max: u32 = 8192,
    /// All field lines with their CRLFs; beyond: 431.
    header_bytes_max: u32 = 32768,
    field_count_max: u32 = 100,

    /// Bytes that an unfinished head can occupy: leading CRLF, both parts, closing CRLF.
    pub fn headBytesMax(self: Limits) usize {
        return @as(usize, self.request_line_bytes_max) + self.header_bytes_max + 8;
    }
};

pub const Head = struct {
    /// The head from the method to the closing CRLF, both included.
    bytes: []const u8,
    method: []const u8,
    target: []const u8,
    minor_version: u8,
    fields: []const Field,
};

pub const Result = union(enum) {
    /// More bytes are needed.
    incomplete,
    /// Bytes of input that the head took (a leading empty line included).
    complete: usize,
    /// Status to answer with before closing.
    rejected: u16,
};

/// Parses the head at the start of `input`. On `complete`, `head` is filled and its fields lie in
/// `table`, with offsets from the start of `head.bytes`.
pub fn parse(input: []const u8, limits: Limits, table: []Field, head: *Head) Result {
    var start: usize = 0;
    // At most one empty line before a request line (RFC 9112 section 2.2).
    if (input.len > 0 and input[0] == '\r') {
        if (input.len < 2) return .incomplete;
        if (input[1] != '\n') return .{ .rejected = 400 };
        start = 2;
    }
    const bytes = input[start..];
    const line_end = switch (lineEnd(bytes, 0, limits.request_line_bytes_max)) {
        .incomplete => return .incomplete,
        .too_long => return .{ .rejected = 414 },
        .malformed => return .{ .rejected = 400 },
        .end => |end| end,
    };
    const status = parseRequestLine(bytes[0..line_end], head);
    if (status != 0) return .{ .rejected = status };
    return parseFields(bytes, line_end + 2, limits, table, head, start);
}

const Line = union(enum) { incomplete, too_long, malformed, end: usize };

/// Finds the CRLF of the line at `start`. Length goes before content, so that the outcome does not
/// depend on how many bytes have arrived.
fn lineEnd(bytes: []const u8, start: usize, length_max: usize) Line {
    const end = scan.valueEnd(bytes, start);
    if (end - start > length_max) return .too_long;
    if (end == bytes.len) return .incomplete;
    if (bytes[end] != '\r') return .malformed;
    if (end + 1 == bytes.len) return .incomplete;
    return if (bytes[end + 1] == '\n') .{ .end = end } else .malformed;
}

fn parseFields(
    bytes: []const u8,
    fields_start: usize,
    limits: Limits,
    table: []Field,
    head: *Head,
    skipped: usize,
) Result {
    const field_count_max = @min(limits.field_count_max, table.len);
    var at = fields_start;
    var count: usize = 0;
    while (true) {
        const used = at - fields_start;
        const room = limits.header_bytes_max -| used;
        const end = switch (lineEnd(bytes, at, room)) {
            .incomplete => return .incomplete,
            .too_long => return .{ .rejected = 431 },
            .malformed => return .{ .rejected = 400 },
            .end => |end| end,
        };
        if (end == at) {
            head.bytes = bytes[0 .. at + 2];
            head.fields = table[0..count];
            return .{ .complete = skipped + at + 2 };
        }
        if (end + 2 - fields_start > limits.header_bytes_max) return .{ .rejected = 431 };
        if (count == field_count_max) return .{ .rejected = 431 };
        table[count] = parseField(bytes, at, end) orelse return .{ .rejected = 400 };
        count += 1;
        at = end + 2;
    }
}

fn parseField(bytes: []const u8, start: usize, end: usize) ?Field {
    const line = bytes[0..end];
    const colon = scan.tokenEnd(line, start);
    // An empty name, a space before the colon and obs-fold all stop here.
    if (colon == start or colon == end or line[colon] != ':') return null;
    var first = colon + 1;
    var last = end;
    while (first < last and (line[first] == ' ' or line[first] == '\t')) first += 1;
    while (last > first and (line[last - 1] == ' ' or line[last - 1] == '\t')) last -= 1;
    return .{
        .name_offset = @intCast(start),
        .name_length = @intCast(colon - start),
        .value_offset = @intCast(first),
        .value_length = @intCast(last - first),
    };
}

/// 0, or the status that the line deserves.
fn parseRequestLine(line: []const u8, head: *Head) u16 {
    const method_end = scan.tokenEnd(line, 0);
    if (method_end == 0 or method_end == line.len or line[method_end] != ' ') return 400;
    const target_start = method_end + 1;
    const target_end = scan.visibleEnd(line, target_start);
    if (target_end == target_start or target_end == line.len or line[target_end] != ' ') return 400;
    const version = line[target_end + 1 ..];
    if (version.len != 8 or !std.mem.startsWith(u8, version, "HTTP/")) return 400;
    if (!isDigit(version[5]) or version[6] != '.' or !isDigit(version[7])) return 400;
    if (version[5] != '1' or version[7] > '1') return 505;
    head.method = line[0..method_end];
    head.target = line[target_start..target_end];
    head.minor_version = version[7] - '0';
    return 0;
}

fn isDigit(byte: u8) bool {
    return byte >= '0' and byte <= '9';
}
