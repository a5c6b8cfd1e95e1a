//! Normal form of an authority and of a request target (RFC 9110 section 4.2.3, RFC 9112 section 3.2).
//!
//! Owns: what counts as one host: lower case, no default port, no trailing dot, no userinfo. Strict:
//! what is doubtful is refused, because two readings of one host are two cache keys for one page.
//! Never: DNS, percent-decoding (paths stay byte for byte as they were sent).

const std = @import("std");
const scan = @import("http1_scan.zig");

/// A DNS name has at most 253 characters; brackets and a port come on top.
pub const authority_bytes_max = 264;
const default_port = 80;

pub const Authority = struct {
    bytes: [authority_bytes_max]u8 = undefined,
    length: usize = 0,

    pub fn slice(self: *const Authority) []const u8 {
        return self.bytes[0..self.length];
    }
};

/// Writes the normal form of `text` to `out`; false where it is no valid `host[:port]`.
pub fn normalize(text: []const u8, out: *Authority) bool {
    if (text.len == 0) return false;
    const host_length = if (text[0] == '[') bracketedLength(text) else nameLength(text);
    if (host_length == 0) return false;
    var host = text[0..host_length];
    const rest = text[host_length..];
    var port: ?u64 = null;
    if (rest.len > 0) {
        if (rest[0] != ':') return false;
        if (rest.len > 1) {
            port = scan.parseDecimal(rest[1..]) orelse return false;
            if (port.? > 65535) return false;
        }
    }
    if (host[host.len - 1] == '.') host = host[0 .. host.len - 1];
    if (host.len == 0 or host.len > 255) return false;
    if (text[0] != '[' and !hasGoodLabels(host)) return false;
    for (host, out.bytes[0..host.len]) |c, *slot| slot.* = scan.lower(c);
    out.length = host.len;
    if (port) |number| if (number != default_port) {
        out.bytes[out.length] = ':';
        out.length += 1 + scan.writeDecimal(out.bytes[out.length + 1 ..], number);
    };
    return true;
}

fn nameLength(text: []const u8) usize {
    for (text, 0..) |c, i| switch (c) {
        'a'...'z', 'A'...'Z', '0'...'9', '-', '.', '_' => {},
        ':' => return i,
        else => return 0,
    };
    return text.len;
}

fn hasGoodLabels(host: []const u8) bool {
    return host[0] != '.' and std.mem.indexOf(u8, host, "..") == null;
}

/// "[" IPv6 "]": hexadecimal digits, colons and dots only (no zone, no IPvFuture).
fn bracketedLength(text: []const u8) usize {
    const close = std.mem.indexOfScalar(u8, text, ']') orelse return 0;
    const inside = text[1..close];
    if (inside.len < 2 or inside.len > 45 or std.mem.indexOfScalar(u8, inside, ':') == null) return 0;
    for (inside) |c| switch (c) {
        '0'...'9', 'a'...'f', 'A'...'F', ':', '.' => {},
        else => return 0,
    };
    return close + 1;
}

pub const Target = struct {
    /// What follows the authority; empty for absolute-form without a path.
    path: []const u8,
    /// Present for absolute-form only, as sent.
    authority: ?[]const u8,
};

/// Splits origin-form and absolute-form; null for any other target and for schemes other than http.
/// `target` holds visible ASCII only.
pub fn splitTarget(target: []const u8) ?Target {
    if (std.mem.indexOfScalar(u8, target, '#') != null) return null;
    if (target[0] == '/') return .{ .path = target, .authority = null };
    const scheme = "http://";
    if (target.len <= scheme.len) return null;
    if (!scan.equalsIgnoringCase(target[0..scheme.len], scheme)) return null;
    const rest = target[scheme.len..];
    const end = std.mem.indexOfAny(u8, rest, "/?") orelse rest.len;
    // "http://host?query" has an empty path before the query: its origin-form needs a "/" that is
    // not there. Nobody sends it, so it is refused and not repaired.
    if (end < rest.len and rest[end] == '?') return null;
    return .{ .path = rest[end..], .authority = rest[0..end] };
}

test "one host has one form" {
    var out = Authority{};
    const good = [_][2][]const u8{
        .{ "Example.ORG", "example.org" },       .{ "example.org.", "example.org" },
        .{ "example.org:80", "example.org" },    .{ "example.org:", "example.org" },
        .{ "example.org.:080", "example.org" },  .{ "a:8080", "a:8080" },
        .{ "a:08080", "a:8080" },                .{ "[::1]", "[::1]" },
        .{ "[FE80::1]:8443", "[fe80::1]:8443" }, .{ "127.0.0.1:1", "127.0.0.1:1" },
    };
    for (good) |pair| {
        try std.testing.expect(normalize(pair[0], &out));
        try std.testing.expectEqualStrings(pair[1], out.slice());
    }
    for ([_][]const u8{
        "",     "user@host", "a b",         "a/b",   "a:b",    "a:65536", "a:1:2", ".",   "..",    "a..b", ".a",
        "[::1", "[]",        "::1",         "[g::]", "[::1]x", "a\x00b",  "a%41",  "a,b", ":8080", "a:-1", "a:+1",
        "a?b",  "[1.2.3.4]", "[fe80::1%1]", "a#b",
    }) |bad| try std.testing.expect(!normalize(bad, &out));
}

test "targets are split or refused" {
    try std.testing.expectEqualStrings("/a?b", splitTarget("/a?b").?.path);
    const absolute = splitTarget("HTTP://Host:1/x?y").?;
    try std.testing.expectEqualStrings("/x?y", absolute.path);
    try std.testing.expectEqualStrings("Host:1", absolute.authority.?);
    try std.testing.expectEqualStrings("", splitTarget("http://h").?.path);
    for ([_][]const u8{ "a", "/a#b", "https://h/", "ftp://h/", "http://", "*", "h:80", "http://h?q" }) |bad| {
        try std.testing.expectEqual(null, splitTarget(bad));
    }
}
