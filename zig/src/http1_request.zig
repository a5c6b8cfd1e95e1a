//! What a parsed head means for framing, routing and the cache (RFC 9110, RFC 9112 section 6).
//!
//! Owns: the decision whether a head is acceptable, its body framing, its normal authority and target,
//! persistence, and which fields the native hit path needs. Never: sockets, the slab, allocation.
//! Why here: the engine and Python must act on one interpretation, so it is made once.
//!
//! Keys. The cache key of a site request is `http://` + authority + origin-form target, byte for byte
//! as sent. Below `/cache/` (the object API) it is `cache:` + path, without the query. No other file
//! builds keys; NC_EVENT_REQUEST hands this one to Python.

const std = @import("std");
const scan = @import("http1_scan.zig");
const authority_of = @import("http1_authority.zig");
const head_of = @import("http1_head.zig");

pub const Field = head_of.Field;
pub const Head = head_of.Head;
pub const length_unknown = std.math.maxInt(u64);
const object_api_prefix = "/cache/";

pub const Method = enum { get, head, options, other };

/// Fields that the engine looks at; every other name is for Python.
pub const Known = enum(u8) {
    host,
    content_length,
    transfer_encoding,
    connection,
    expect,
    upgrade,
    authorization,
    range,
    if_range,
    if_none_match,
    if_modified_since,
    if_match,
    if_unmodified_since,

    pub const count = @typeInfo(Known).@"enum".field_names.len;
};

const absent = std.math.maxInt(u16);

pub const Request = struct {
    head: Head = undefined,
    method: Method = .other,
    /// Origin-form, or "*".
    target: []const u8 = "",
    authority: authority_of.Authority = .{},
    is_object_api: bool = false,
    /// NC_LENGTH_UNKNOWN for chunked.
    content_length: u64 = 0,
    is_chunked: bool = false,
    keep_alive: bool = false,
    expects_continue: bool = false,
    first: [Known.count]u16 = @splat(absent),
    occurrences: [Known.count]u16 = @splat(0),

    pub fn hasBody(self: *const Request) bool {
        return self.content_length != 0;
    }

    pub fn has(self: *const Request, known: Known) bool {
        return self.occurrences[@backingInt(known)] != 0;
    }

    pub fn isRepeated(self: *const Request, known: Known) bool {
        return self.occurrences[@backingInt(known)] > 1;
    }

    /// The value of the first line of that name; it must be there.
    pub fn value(self: *const Request, known: Known) []const u8 {
        return self.head.fields[self.first[@backingInt(known)]].value(self.head.bytes);
    }

    /// Walks all values of a name in order of arrival.
    pub fn values(self: *const Request, known: Known) ValueIterator {
        return .{ .request = self, .known = known, .at = self.first[@backingInt(known)] };
    }

    /// Writes the cache key to `out` and gives its length, or null where it does not fit.
    pub fn writeKey(self: *const Request, out: []u8) ?usize {
        var at: usize = 0;
        if (self.is_object_api) {
            const query = std.mem.indexOfScalar(u8, self.target, '?') orelse self.target.len;
            if (!append(out, &at, "cache:") or !append(out, &at, self.target[0..query])) return null;
        } else {
            if (!append(out, &at, "http://") or !append(out, &at, self.authority.slice())) return null;
            if (!append(out, &at, self.target)) return null;
        }
        return at;
    }
};

fn append(out: []u8, at: *usize, bytes: []const u8) bool {
    if (out.len - at.* < bytes.len) return false;
    @memcpy(out[at.*..][0..bytes.len], bytes);
    at.* += bytes.len;
    return true;
}

pub const ValueIterator = struct {
    request: *const Request,
    known: Known,
    at: usize,

    pub fn next(self: *ValueIterator) ?[]const u8 {
        const fields = self.request.head.fields;
        const bytes = self.request.head.bytes;
        while (self.at < fields.len) {
            const field = fields[self.at];
            self.at += 1;
            if (classify(field.name(bytes)) == self.known) return field.value(bytes);
        }
        return null;
    }
};

fn classify(name: []const u8) ?Known {
    // Length first: most names of a browser fall out without a comparison of bytes.
    const candidates: []const struct { []const u8, Known } = switch (name.len) {
        4 => &.{.{ "host", .host }},
        5 => &.{.{ "range", .range }},
        6 => &.{.{ "expect", .expect }},
        7 => &.{.{ "upgrade", .upgrade }},
        8 => &.{ .{ "if-range", .if_range }, .{ "if-match", .if_match } },
        10 => &.{.{ "connection", .connection }},
        13 => &.{ .{ "if-none-match", .if_none_match }, .{ "authorization", .authorization } },
        14 => &.{.{ "content-length", .content_length }},
        17 => &.{ .{ "transfer-encoding", .transfer_encoding }, .{ "if-modified-since", .if_modified_since } },
        19 => &.{.{ "if-unmodified-since", .if_unmodified_since }},
        else => return null,
    };
    for (candidates) |candidate| {
        if (scan.equalsIgnoringCase(name, candidate[0])) return candidate[1];
    }
    return null;
}

/// Fills `request` from `request.head`; 0, or the status to refuse with (the connection then closes).
pub fn interpret(request: *Request) u16 {
    const head = request.head;
    request.first = @splat(absent);
    request.occurrences = @splat(0);
    for (head.fields, 0..) |field, index| {
        const known = classify(field.name(head.bytes)) orelse continue;
        const slot = @backingInt(known);
        if (request.occurrences[slot] == 0) request.first[slot] = @intCast(index);
        request.occurrences[slot] += 1;
    }
    request.method = methodOf(head.method);
    // Framing first: a head whose end of body is in doubt is never looked at further.
    const framing = interpretFraming(request);
    if (framing != 0) return framing;
    const routing = interpretTarget(request);
    if (routing != 0) return routing;
    interpretPersistence(request);
    request.expects_continue = false;
    if (request.has(.expect)) {
        if (request.isRepeated(.expect)) return 417;
        if (!scan.equalsIgnoringCase(request.value(.expect), "100-continue")) return 417;
        request.expects_continue = head.minor_version == 1 and request.hasBody();
    }
    return 0;
}

fn methodOf(method: []const u8) Method {
    if (std.mem.eql(u8, method, "GET")) return .get;
    if (std.mem.eql(u8, method, "HEAD")) return .head;
    if (std.mem.eql(u8, method, "OPTIONS")) return .options;
    return .other;
}

fn interpretFraming(request: *Request) u16 {
    request.content_length = 0;
    request.is_chunked = false;
    if (request.has(.transfer_encoding)) {
        // RFC 9112 section 6.1: both fields, or a coding from a 1.0 client, is an attack or an error.
        if (request.has(.content_length) or request.head.minor_version == 0) return 400;
        if (request.isRepeated(.transfer_encoding)) return 400;
        const coding = request.value(.transfer_encoding);
        if (!scan.equalsIgnoringCase(coding, "chunked")) {
            var list = scan.TokenList{ .rest = coding };
            while (list.next()) |element| {
                if (scan.equalsIgnoringCase(element, "chunked")) return 400;
            }
            return if (coding.len == 0) 400 else 501;
        }
        request.is_chunked = true;
        request.content_length = length_unknown;
    } else if (request.has(.content_length)) {
        if (request.isRepeated(.content_length)) return 400;
        request.content_length = scan.parseDecimal(request.value(.content_length)) orelse return 400;
    }
    return 0;
}

fn interpretTarget(request: *Request) u16 {
    const head = request.head;
    request.authority.length = 0;
    request.is_object_api = false;
    if (std.mem.eql(u8, head.method, "CONNECT")) return 501;
    if (request.isRepeated(.host)) return 400;
    if (request.has(.host)) {
        if (!authority_of.normalize(request.value(.host), &request.authority)) return 400;
    } else if (head.minor_version == 1) return 400;
    if (std.mem.eql(u8, head.target, "*")) {
        if (request.method != .options) return 400;
        request.target = head.target;
        return 0;
    }
    const target = authority_of.splitTarget(head.target) orelse return 400;
    request.target = target.path;
    if (target.authority) |text| {
        var named = authority_of.Authority{};
        if (!authority_of.normalize(text, &named)) return 400;
        if (request.has(.host)) {
            if (!std.mem.eql(u8, named.slice(), request.authority.slice())) return 400;
        } else request.authority = named;
        if (request.target.len == 0) request.target = if (request.method == .options) "*" else "/";
    }
    request.is_object_api = std.mem.startsWith(u8, request.target, object_api_prefix);
    return 0;
}

fn interpretPersistence(request: *Request) void {
    var says_close = false;
    var says_keep_alive = false;
    if (request.has(.connection)) {
        var lines = request.values(.connection);
        while (lines.next()) |line| {
            var list = scan.TokenList{ .rest = line };
            while (list.next()) |option| {
                if (scan.equalsIgnoringCase(option, "close")) says_close = true;
                if (scan.equalsIgnoringCase(option, "keep-alive")) says_keep_alive = true;
            }
        }
    }
    request.keep_alive = !says_close and (request.head.minor_version == 1 or says_keep_alive);
}
