//! Eight threads hit, fill, evict, delete and follow in one small arena; every byte is checked against
//! its key. Run under the thread sanitizer; NEUROCACHE_RACE_MS sets the length (default 3000).

const std = @import("std");
const slab_api = @import("neurocache").slab;
const Slab = slab_api.Slab;
const Object = slab_api.object.Object;
const Atomic = std.atomic.Value;
const testing = std.testing;

const thread_count = 8;
const key_count = 1500;
const arena_bytes = 24 << 20;

const Shared = struct {
    slab: *Slab,
    stop: Atomic(bool) = .init(false),
    /// Handles of fills under way, for followers; 0: none.
    offers: [thread_count]Atomic(u64) = @splat(.init(0)),
    hits: Atomic(u64) = .init(0),
    fills: Atomic(u64) = .init(0),
    refusals: Atomic(u64) = .init(0),
    followed: Atomic(u64) = .init(0),
    faults: Atomic(u64) = .init(0),
};

/// A body tells its key, its length and each byte's place.
fn byteAt(number: u64, length: u64, offset: u64) u8 {
    const block = (offset / 8) *% 0x9e37_79b9_7f4a_7c15 ^ number *% 0xff51_afd7_ed55_8ccd ^ length;
    return @truncate((block >> 29) +% offset);
}

fn lengthOf(random: std.Random) u64 {
    return switch (random.int(u8)) {
        0...199 => random.uintLessThan(u64, 3000),
        200...239 => random.uintLessThan(u64, 60_000),
        240...252 => random.uintLessThan(u64, 700_000),
        else => random.uintLessThan(u64, 3 << 20),
    };
}

const Key = struct {
    text: [24]u8,
    length: usize,

    fn of(number: u64) Key {
        var key: Key = .{ .text = undefined, .length = 0 };
        const text = std.fmt.bufPrint(&key.text, "key-{d}", .{number}) catch unreachable;
        key.length = text.len;
        return key;
    }

    fn bytes(self: *const Key) []const u8 {
        return self.text[0..self.length];
    }
};

fn numberOf(key: []const u8) u64 {
    return std.fmt.parseInt(u64, key[4..], 10) catch std.math.maxInt(u64);
}

/// Meta holds the length, so that a body of unknown length can be checked while it comes.
fn checkRange(shared: *Shared, object: *Object, from: u64, to: u64) void {
    const number = numberOf(object.key());
    const length = std.mem.readInt(u64, object.meta()[0..8], .little);
    var offset = from;
    while (offset < to) {
        const chunk = shared.slab.chunkAt(object, offset);
        if (chunk.len == 0) return fault(shared);
        // Samples of a long chunk, ends included: the sanitizer makes each byte dear.
        const step = @max(1, chunk.len / 64);
        var at: usize = 0;
        while (at < chunk.len) : (at += step) {
            if (chunk[at] != byteAt(number, length, offset + at)) return fault(shared);
        }
        const last = chunk.len - 1;
        if (chunk[last] != byteAt(number, length, offset + last)) return fault(shared);
        offset += chunk.len;
    }
}

fn fault(shared: *Shared) void {
    _ = shared.faults.fetchAdd(1, .monotonic);
    shared.stop.store(true, .monotonic);
}

fn readOne(shared: *Shared, reader: u32, random: std.Random) void {
    const number = random.uintLessThan(u64, key_count);
    const key = Key.of(number);
    const hash = shared.slab.hashKey(key.bytes());
    shared.slab.enter(reader);
    const found = shared.slab.find(hash, key.bytes());
    var pinned: ?*Object = null;
    if (found) |object| {
        shared.slab.touch(object);
        if (numberOf(object.key()) != number) fault(shared);
        _ = shared.hits.fetchAdd(1, .monotonic);
        if (random.int(u8) < 40) {
            shared.slab.pin(object);
            pinned = object;
        } else {
            // Others run while this reader is inside: only the epoch protects what it looks at.
            if (random.int(u8) < 40) _ = std.c.sched_yield();
            if (numberOf(object.key()) != number) fault(shared);
            checkRange(shared, object, 0, object.filled());
        }
    }
    shared.slab.leave(reader);
    if (pinned) |object| {
        if (random.boolean()) _ = std.c.sched_yield();
        if (numberOf(object.key()) != number) fault(shared);
        checkRange(shared, object, 0, object.filled());
        shared.slab.unpin(object);
    }
}

fn follow(shared: *Shared, reader: u32, random: std.Random) void {
    const handle = shared.offers[random.uintLessThan(usize, thread_count)].load(.acquire);
    if (handle == 0) return;
    shared.slab.enter(reader);
    const object = shared.slab.pinHandle(handle);
    shared.slab.leave(reader);
    const followed = object orelse return;
    defer shared.slab.unpin(followed);
    var offset: u64 = 0;
    for (0..50) |_| {
        const state = followed.state();
        const filled = followed.filled();
        checkRange(shared, followed, offset, filled);
        offset = filled;
        if (state != .filling) break;
        _ = std.c.sched_yield();
    }
    _ = shared.followed.fetchAdd(1, .monotonic);
}

fn fillOne(shared: *Shared, index: usize, random: std.Random) void {
    const fill = slab_api.fill;
    const number = random.uintLessThan(u64, key_count);
    const key = Key.of(number);
    const length = lengthOf(random);
    var meta: [8]u8 = undefined;
    std.mem.writeInt(u64, &meta, length, .little);
    const is_known = random.boolean();
    const object = fill.begin(shared.slab, &.{
        .key = key.bytes(),
        .meta = &meta,
        .body_length = if (is_known) length else slab_api.object.length_unknown,
    }) catch {
        _ = shared.refusals.fetchAdd(1, .monotonic);
        return;
    };
    shared.offers[index].store(shared.slab.handleOf(object), .release);
    defer shared.offers[index].store(0, .release);
    var offset: u64 = 0;
    while (offset < length) {
        const room = fill.buffer(shared.slab, object) catch {
            _ = shared.refusals.fetchAdd(1, .monotonic);
            return fill.abort(shared.slab, object) catch fault(shared);
        };
        const count: usize = @intCast(@min(room.len, length - offset, 1 + random.uintLessThan(u64, 200_000)));
        for (room[0..count], 0..) |*byte, at| byte.* = byteAt(number, length, offset + at);
        fill.advance(shared.slab, object, count) catch return fault(shared);
        offset += count;
    }
    if (random.int(u8) < 12) return fill.abort(shared.slab, object) catch fault(shared);
    if (random.int(u8) < 12) {
        fill.completeUnindexed(shared.slab, object) catch return fault(shared);
        return shared.slab.unpin(object);
    }
    const stored = fill.publish(shared.slab, object) catch return fault(shared);
    checkRange(shared, stored, 0, length);
    shared.slab.unpin(stored);
    _ = shared.fills.fetchAdd(1, .monotonic);
}

fn work(shared: *Shared, index: usize) void {
    var seed = std.Random.DefaultPrng.init(index *% 7919 + 1);
    const random = seed.random();
    const reader = shared.slab.registerReader() catch return fault(shared);
    defer shared.slab.unregisterReader(reader);
    while (!shared.stop.load(.monotonic)) {
        switch (random.int(u8)) {
            0...170 => readOne(shared, reader, random),
            171...190 => follow(shared, reader, random),
            191...245 => fillOne(shared, index, random),
            246...252 => {
                const key = Key.of(random.uintLessThan(u64, key_count));
                slab_api.catalog.delete(shared.slab, key.bytes()) catch {};
            },
            else => {
                var cursor: u64 = random.int(u32) % (arena_bytes / 64);
                if (slab_api.catalog.scan(shared.slab, &cursor)) |object| {
                    checkRange(shared, object, 0, object.filled());
                    shared.slab.unpin(object);
                }
            },
        }
    }
}

fn durationMs() u64 {
    const text = std.c.getenv("NEUROCACHE_RACE_MS") orelse return 3000;
    return std.fmt.parseInt(u64, std.mem.span(text), 10) catch 3000;
}

test "eight threads never see a byte of another object" {
    var errno: i32 = 0;
    const slab = try Slab.open(.{ .arena_bytes = arena_bytes, .hash_key = .{ 1, 2 } }, &errno);
    var shared: Shared = .{ .slab = slab };
    var threads: [thread_count]std.Thread = undefined;
    for (&threads, 0..) |*thread, index| thread.* = try std.Thread.spawn(.{}, work, .{ &shared, index });
    const slice_ms = 20;
    var passed_ms: u64 = 0;
    while (passed_ms < durationMs() and !shared.stop.load(.monotonic)) : (passed_ms += slice_ms) {
        const nap: std.c.timespec = .{ .sec = 0, .nsec = slice_ms * std.time.ns_per_ms };
        _ = std.c.nanosleep(&nap, null);
    }
    shared.stop.store(true, .monotonic);
    for (&threads) |*thread| thread.join();
    var stats: slab_api.stats.SlabStats = undefined;
    slab_api.stats.read(slab, &stats);
    std.debug.print("{d} hits, {d} fills, {d} followed, {d} refused, {d} evictions, {d} pages moved\n", .{
        shared.hits.raw,     shared.fills.raw, shared.followed.raw,
        shared.refusals.raw, stats.evictions,  stats.pages_moved,
    });
    try testing.expectEqual(0, shared.faults.raw);
    try testing.expect(shared.hits.raw > 100);
    try testing.expect(stats.evictions > 100);
    try testing.expectEqual(stats.objects_live, stats.index_used);
    try testing.expectEqual(0, stats.objects_filling);
    try slab.close();
}
