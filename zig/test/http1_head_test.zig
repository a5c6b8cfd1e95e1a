//! The request-head parser against itself: one result for the same bytes however they arrive.

const std = @import("std");
const http1 = @import("neurocache").http1;
const testing = std.testing;

const good = [_][]const u8{
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nPOST /x?y HTTP/1.1\r\nhost: A.example:8080\r\nContent-Length: 5\r\n\r\nhello",
    "GET http://a/b HTTP/1.1\r\nHost: a\r\nIf-None-Match: \"x\"\r\nIf-None-Match: \"y\"\r\n\r\n",
    "OPTIONS * HTTP/1.0\r\n\r\n",
};
const limits = http1.head.Limits{
    .request_line_bytes_max = 64,
    .header_bytes_max = 128,
    .field_count_max = 4,
};

fn parse(bytes: []const u8, head: *http1.head.Head, table: []http1.head.Field) http1.head.Result {
    return http1.head.parse(bytes, limits, table, head);
}

/// The first final result when the bytes come one at a time.
fn parseByByte(bytes: []const u8, head: *http1.head.Head, table: []http1.head.Field) http1.head.Result {
    for (1..bytes.len + 1) |length| {
        const result = parse(bytes[0..length], head, table);
        if (result != .incomplete) return result;
    }
    return .incomplete;
}

test "a head parses into its parts" {
    var table: [8]http1.head.Field = undefined;
    var request = http1.request.Request{};
    try testing.expect(parse(good[1], &request.head, &table) == .complete);
    try testing.expectEqual(0, http1.request.interpret(&request));
    try testing.expectEqualStrings("POST", request.head.method);
    try testing.expectEqualStrings("/x?y", request.target);
    try testing.expectEqualStrings("a.example:8080", request.authority.slice());
    try testing.expectEqual(5, request.content_length);
    try testing.expect(request.keep_alive);
    var key: [100]u8 = undefined;
    const length = request.writeKey(&key).?;
    try testing.expectEqualStrings("http://a.example:8080/x?y", key[0..length]);
    try testing.expectEqual(null, request.writeKey(key[0 .. length - 1]));
}

test "repeated fields are walked in order" {
    var table: [8]http1.head.Field = undefined;
    var request = http1.request.Request{};
    try testing.expect(parse(good[2], &request.head, &table) == .complete);
    try testing.expectEqual(0, http1.request.interpret(&request));
    var values = request.values(.if_none_match);
    try testing.expectEqualStrings("\"x\"", values.next().?);
    try testing.expectEqualStrings("\"y\"", values.next().?);
    try testing.expectEqual(null, values.next());
}

test "mutated heads give one result, whole or byte by byte, and all slices lie inside" {
    var generator = std.Random.DefaultPrng.init(20260722);
    const random = generator.random();
    const alphabet = "\r\n\t :;,/#%*[]@\x00\x7f\xff09azAZ-_+";
    var buffer: [512]u8 = undefined;
    var table: [8]http1.head.Field = undefined;
    var other_table: [8]http1.head.Field = undefined;
    var accepted: usize = 0;
    for (0..20_000) |_| {
        const seed = good[random.uintLessThan(usize, good.len)];
        @memcpy(buffer[0..seed.len], seed);
        var length = seed.len;
        for (0..random.uintLessThan(usize, 4)) |_| {
            const at = random.uintLessThan(usize, length);
            const byte = alphabet[random.uintLessThan(usize, alphabet.len)];
            if (random.boolean()) {
                buffer[at] = byte;
            } else {
                std.mem.copyBackwards(u8, buffer[at + 1 .. length + 1], buffer[at..length]);
                buffer[at] = byte;
                length += 1;
            }
        }
        if (random.uintLessThan(u8, 8) == 0) {
            // Long lines, so that the limits are met as well.
            const at = random.uintLessThan(usize, length);
            const count = random.uintLessThan(usize, 200);
            std.mem.copyBackwards(u8, buffer[at + count .. length + count], buffer[at..length]);
            @memset(buffer[at..][0..count], 'a');
            length += count;
        }
        var whole = http1.request.Request{};
        var pieces = http1.request.Request{};
        const bytes = buffer[0..length];
        const result = parse(bytes, &whole.head, &table);
        try testing.expectEqualDeep(result, parseByByte(bytes, &pieces.head, &other_table));
        if (result != .complete) continue;
        accepted += 1;
        try testing.expectEqualStrings(whole.head.bytes, pieces.head.bytes);
        for (whole.head.fields, pieces.head.fields) |a, b| {
            try testing.expectEqual(a, b);
            try testing.expect(a.value_offset + a.value_length <= whole.head.bytes.len);
            const value = a.value(whole.head.bytes);
            try testing.expectEqual(null, std.mem.indexOfAny(u8, value, "\r\n\x00"));
            try testing.expect(a.name_length > 0);
        }
        const status = http1.request.interpret(&whole);
        try testing.expectEqual(status, http1.request.interpret(&pieces));
        if (status == 0) try testing.expectEqualStrings(whole.target, pieces.target);
    }
    try testing.expect(accepted > 1000);
}
