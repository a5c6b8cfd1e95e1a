//! Conditional and range requests against one stored 200 response (RFC 9110 sections 13 and 14).
//!
//! Owns: whether a hit becomes 200, 206, 304 or 416. Never: writing the answer, If-Match and
//! If-Unmodified-Since (those are for Python: RFC 9111 section 4.3.2 leaves them to the origin).

const std = @import("std");
const scan = @import("http1_scan.zig");
const date = @import("http1_date.zig");
const Request = @import("http1_request.zig").Request;

pub const Stored = struct {
    /// With quotes and W/; empty when there is none.
    etag: []const u8,
    /// Wall seconds; 0: none.
    last_modified_s: u64,
    length: u64,
};

pub const Range = struct { first: u64, last: u64 };

pub const Decision = union(enum) { full, not_modified, partial: Range, unsatisfiable };

/// For GET and HEAD on a stored 200. Precedence of RFC 9110 section 13.2.2.
pub fn decide(request: *const Request, stored: Stored, now_s: u64) Decision {
    if (request.has(.if_none_match)) {
        var lines = request.values(.if_none_match);
        while (lines.next()) |line| if (listMatches(line, stored.etag)) return .not_modified;
    } else if (request.has(.if_modified_since) and !request.isRepeated(.if_modified_since)) {
        if (stored.last_modified_s != 0) {
            if (date.parse(request.value(.if_modified_since), now_s)) |since_s| {
                if (stored.last_modified_s <= since_s) return .not_modified;
            }
        }
    }
    // Range is defined for GET only (section 14.2).
    if (request.method != .get or !request.has(.range) or request.isRepeated(.range)) return .full;
    if (request.has(.if_range) and !ifRangeHolds(request, stored, now_s)) return .full;
    return decideRange(request.value(.range), stored.length);
}

fn ifRangeHolds(request: *const Request, stored: Stored, now_s: u64) bool {
    if (request.isRepeated(.if_range)) return false;
    const value = request.value(.if_range);
    if (value.len > 0 and value[0] == '"') {
        // Strong comparison: a stored W/"x" begins with W and so never equals.
        return stored.etag.len > 0 and std.mem.eql(u8, value, stored.etag);
    }
    if (stored.last_modified_s == 0) return false;
    return date.parse(value, now_s) == stored.last_modified_s;
}

fn withoutWeakness(etag: []const u8) []const u8 {
    return if (std.mem.startsWith(u8, etag, "W/")) etag[2..] else etag;
}

/// Weak comparison of each entity-tag of a list with the stored one; "*" matches what is stored.
/// A list that breaks the grammar matches nothing from there on.
fn listMatches(list: []const u8, etag: []const u8) bool {
    if (std.mem.eql(u8, scan.trim(list), "*")) return true;
    if (etag.len == 0) return false;
    const wanted = withoutWeakness(etag);
    var at: usize = 0;
    while (at < list.len) {
        switch (list[at]) {
            ' ', '\t', ',' => {
                at += 1;
                continue;
            },
            else => {},
        }
        if (std.mem.startsWith(u8, list[at..], "W/")) at += 2;
        if (at >= list.len or list[at] != '"') return false;
        const close = std.mem.indexOfScalarPos(u8, list, at + 1, '"') orelse return false;
        if (std.mem.eql(u8, list[at .. close + 1], wanted)) return true;
        at = close + 1;
    }
    return false;
}

/// One range of bytes; several ranges, other units and what breaks the grammar are ignored (200).
fn decideRange(value: []const u8, length: u64) Decision {
    const unit = "bytes=";
    if (value.len <= unit.len or !scan.equalsIgnoringCase(value[0..unit.len], unit)) return .full;
    const spec = scan.trim(value[unit.len..]);
    const dash = std.mem.indexOfScalar(u8, spec, '-') orelse return .full;
    const before = spec[0..dash];
    const after = spec[dash + 1 ..];
    if (before.len == 0) {
        const suffix = parsePosition(after) orelse return .full;
        if (suffix == 0 or length == 0) return .unsatisfiable;
        return .{ .partial = .{ .first = length -| suffix, .last = length - 1 } };
    }
    const first = parsePosition(before) orelse return .full;
    var last: u64 = std.math.maxInt(u64);
    if (after.len > 0) {
        last = parsePosition(after) orelse return .full;
        if (last < first) return .full;
    }
    if (first >= length) return .unsatisfiable;
    return .{ .partial = .{ .first = first, .last = @min(last, length - 1) } };
}

/// Digits of any number: what exceeds 18 digits saturates, since no body is that long.
fn parsePosition(digits: []const u8) ?u64 {
    if (digits.len == 0) return null;
    for (digits) |c| if (c < '0' or c > '9') return null;
    return scan.parseDecimal(digits) orelse std.math.maxInt(u64);
}

test "single ranges" {
    const Case = struct { []const u8, u64, Decision };
    const ignored: Decision = .full;
    for ([_]Case{
        .{ "bytes=0-0", 10, .{ .partial = .{ .first = 0, .last = 0 } } },
        .{ "Bytes=2-", 10, .{ .partial = .{ .first = 2, .last = 9 } } },
        .{ "bytes=-3", 10, .{ .partial = .{ .first = 7, .last = 9 } } },
        .{ "bytes=-30", 10, .{ .partial = .{ .first = 0, .last = 9 } } },
        .{ "bytes=5-99999999999999999999", 10, .{ .partial = .{ .first = 5, .last = 9 } } },
        .{ "bytes=10-", 10, .unsatisfiable },
        .{ "bytes=99999999999999999999-", 10, .unsatisfiable },
        .{ "bytes=-0", 10, .unsatisfiable },
        .{ "bytes=0-", 0, .unsatisfiable },
        .{ "bytes=5-4", 10, ignored },
        .{ "bytes=0-1,3-4", 10, ignored },
        .{ "bytes=a-b", 10, ignored },
        .{ "bytes=+1-2", 10, ignored },
        .{ "items=0-1", 10, ignored },
        .{ "bytes=", 10, ignored },
        .{ "bytes=-", 10, ignored },
        .{ "bytes=1", 10, ignored },
    }) |case| try std.testing.expectEqualDeep(case[2], decideRange(case[0], case[1]));
}

test "entity-tag lists are compared weakly" {
    try std.testing.expect(listMatches("\"a\", W/\"b\"", "\"b\""));
    try std.testing.expect(listMatches("\"b\"", "W/\"b\""));
    try std.testing.expect(listMatches(" * ", ""));
    try std.testing.expect(listMatches("\"a,b\",\"c\"", "\"a,b\""));
    try std.testing.expect(!listMatches("\"a,b\"", "\"a\""));
    try std.testing.expect(!listMatches("b", "\"b\""));
    try std.testing.expect(!listMatches("w/\"b\"", "\"b\""));
    try std.testing.expect(!listMatches("\"b", "\"b\""));
    try std.testing.expect(!listMatches("", "\"b\""));
}
