//! Strict sans-IO decoder of request bodies: by length and chunked (RFC 9112 sections 6.3 and 7.1).
//!
//! Owns: where a body ends, to the byte. Never: copies, buffers, sockets. Trailer fields are checked
//! and dropped. Why strict: a chunk size that two parsers read differently is a smuggled request.

const std = @import("std");
const scan = @import("http1_scan.zig");

const size_digits_max = 16;
/// No client sends extensions; a little room is left for those that sign chunks.
const extension_bytes_max = 1024;
const extension_total_bytes_max = 16384;
const trailer_bytes_max = 8192;
const trailer_line_count_max = 64;

pub const Step = struct {
    /// Input bytes taken, `data` included.
    consumed: usize,
    /// Body bytes: a part of the input.
    data: []const u8,
};

const State = enum(u8) {
    done,
    length,
    size_first,
    size,
    extension,
    size_lf,
    data,
    data_cr,
    data_lf,
    trailer_start,
    trailer_name,
    trailer_value,
    trailer_lf,
    final_lf,
};

pub const Decoder = struct {
    state: State = .done,
    digit_count: u8 = 0,
    trailer_line_count: u8 = 0,
    line_bytes: u16 = 0,
    total_bytes: u16 = 0,
    /// Bytes left of the body (by length) or of the chunk.
    remaining: u64 = 0,

    pub fn initLength(length: u64) Decoder {
        return .{ .state = if (length == 0) .done else .length, .remaining = length };
    }

    pub fn initChunked() Decoder {
        return .{ .state = .size_first };
    }

    pub fn isDone(self: *const Decoder) bool {
        return self.state == .done;
    }

    /// Takes framing and at most one run of body bytes (no more than `data_max`) from `input`.
    /// `consumed` 0 with input left: done, or `data_max` is 0 and body bytes come next.
    pub fn next(self: *Decoder, input: []const u8, data_max: u64) error{Malformed}!Step {
        var at: usize = 0;
        while (at < input.len) {
            switch (self.state) {
                .done => break,
                .length, .data => {
                    const count: usize = @intCast(@min(self.remaining, data_max, input.len - at));
                    if (count == 0) break;
                    self.remaining -= count;
                    if (self.remaining == 0) self.state = if (self.state == .data) .data_cr else .done;
                    return .{ .consumed = at + count, .data = input[at..][0..count] };
                },
                else => {
                    try self.takeFraming(input[at]);
                    at += 1;
                },
            }
        }
        return .{ .consumed = at, .data = input[0..0] };
    }

    fn takeFraming(self: *Decoder, byte: u8) error{Malformed}!void {
        switch (self.state) {
            .size_first, .size => try self.takeSize(byte),
            .extension => {
                if (byte == '\r') {
                    self.state = .size_lf;
                } else try self.takeText(byte, extension_bytes_max, extension_total_bytes_max);
            },
            .size_lf => {
                if (byte != '\n') return error.Malformed;
                self.line_bytes = 0;
                if (self.remaining == 0) self.total_bytes = 0;
                self.state = if (self.remaining == 0) .trailer_start else .data;
            },
            .data_cr => self.state = if (byte == '\r') .data_lf else return error.Malformed,
            .data_lf => {
                if (byte != '\n') return error.Malformed;
                self.digit_count = 0;
                self.state = .size_first;
            },
            .trailer_start => {
                if (byte == '\r') {
                    self.state = .final_lf;
                    return;
                }
                self.trailer_line_count += 1;
                if (self.trailer_line_count > trailer_line_count_max) return error.Malformed;
                if (!scan.isTokenByte(byte)) return error.Malformed;
                try self.takeText(byte, trailer_bytes_max, trailer_bytes_max);
                self.state = .trailer_name;
            },
            .trailer_name => {
                if (byte != ':' and !scan.isTokenByte(byte)) return error.Malformed;
                try self.takeText(byte, trailer_bytes_max, trailer_bytes_max);
                if (byte == ':') self.state = .trailer_value;
            },
            .trailer_value => {
                if (byte == '\r') {
                    self.state = .trailer_lf;
                } else try self.takeText(byte, trailer_bytes_max, trailer_bytes_max);
            },
            .trailer_lf => self.state = if (byte == '\n') .trailer_start else return error.Malformed,
            .final_lf => self.state = if (byte == '\n') .done else return error.Malformed,
            .done, .length, .data => unreachable,
        }
    }

    fn takeSize(self: *Decoder, byte: u8) error{Malformed}!void {
        const digit: u64 = switch (byte) {
            '0'...'9' => byte - '0',
            'a'...'f' => byte - 'a' + 10,
            'A'...'F' => byte - 'A' + 10,
            '\r', ';' => {
                if (self.state == .size_first) return error.Malformed;
                self.state = if (byte == ';') .extension else .size_lf;
                return;
            },
            else => return error.Malformed,
        };
        if (self.state == .size_first) {
            self.remaining = 0;
            self.digit_count = 0;
        }
        self.digit_count += 1;
        if (self.digit_count > size_digits_max or self.remaining >> 58 != 0) return error.Malformed;
        self.remaining = self.remaining << 4 | digit;
        self.state = .size;
    }

    fn takeText(self: *Decoder, byte: u8, line_max: u16, total_max: u16) error{Malformed}!void {
        if ((byte < 0x20 and byte != '\t') or byte == 0x7f) return error.Malformed;
        self.line_bytes +|= 1;
        self.total_bytes +|= 1;
        if (self.line_bytes > line_max or self.total_bytes > total_max) return error.Malformed;
    }
};

fn decodeAll(input: []const u8, step: usize, out: *std.ArrayList(u8)) !usize {
    var decoder = Decoder.initChunked();
    var at: usize = 0;
    var end: usize = 0;
    while (!decoder.isDone()) {
        if (at == end) {
            if (end == input.len) return error.Incomplete;
            end = @min(end + step, input.len);
        }
        const result = try decoder.next(input[at..end], std.math.maxInt(u64));
        try out.appendSlice(std.testing.allocator, result.data);
        at += result.consumed;
    }
    return at;
}

test "a chunked body is the same however it is split" {
    const wire = "4\r\nWiki\r\n7;a=\"b\"\r\npedia i\r\n0B\r\nn \r\nchunks.\r\n0\r\nTrailer: x\r\nB:\r\n\r\nGET";
    for (1..wire.len) |step| {
        var out: std.ArrayList(u8) = .empty;
        defer out.deinit(std.testing.allocator);
        try std.testing.expectEqual(wire.len - 3, try decodeAll(wire, step, &out));
        try std.testing.expectEqualStrings("Wikipedia in \r\nchunks.", out.items);
    }
}

test "malformed chunked bodies are refused" {
    for ([_][]const u8{
        "0x5\r\nhello\r\n0\r\n\r\n",      "+5\r\nhello\r\n0\r\n\r\n", "5_0\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",       "5 \r\nhello\r\n0\r\n\r\n", "5\nhello\r\n0\r\n\r\n",
        "5\r\rhello\r\n",                 "5\r\nhelloX\r\n0\r\n\r\n", "5\r\nhello\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",   "\r\n",                     ";a\r\n",
        "00000000000000005\r\nhello\r\n", "fffffffffffffff0\r\n",     "0\r\n bad: x\r\n\r\n",
        "0\r\nbad x: y\r\n\r\n",          "0\r\n: x\r\n\r\n",         "0\r\nA: \x00\r\n\r\n",
        "0\r\n\n",                        "5 ;a\r\nhello\r\n",        "0\r\nA: b\n\r\n",
        "-1\r\n",                         "5\r\nhello\r\r\n",         "g\r\n",
    }) |wire| {
        var out: std.ArrayList(u8) = .empty;
        defer out.deinit(std.testing.allocator);
        try std.testing.expectError(error.Malformed, decodeAll(wire, wire.len, &out));
        out.clearRetainingCapacity();
        try std.testing.expectError(error.Malformed, decodeAll(wire, 1, &out));
    }
}

test "a body by length ends at its last byte, and waits for credit" {
    var decoder = Decoder.initLength(5);
    var step = try decoder.next("helloGET", 3);
    try std.testing.expectEqualStrings("hel", step.data);
    step = try decoder.next("loGET", 0);
    try std.testing.expectEqual(0, step.consumed);
    step = try decoder.next("loGET", 9);
    try std.testing.expectEqualStrings("lo", step.data);
    try std.testing.expect(decoder.isDone());
    step = try decoder.next("GET", 9);
    try std.testing.expectEqual(0, step.consumed);
}
