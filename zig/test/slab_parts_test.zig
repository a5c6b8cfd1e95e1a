//! The slab's parts, each by itself: checksums, epochs, index, size classes.

const std = @import("std");
const slab = @import("neurocache").slab;
const crc32c = slab.crc32c;
const Hash = slab.object.Hash;
const Grain = slab.size_class.Grain;
const expect = std.testing.expect;
const expectEqual = std.testing.expectEqual;

test "checksums match RFC 3720 appendix B.4, and both paths agree at every length" {
    const zeros: [32]u8 = @splat(0);
    const ones: [32]u8 = @splat(0xff);
    try expectEqual(@as(u32, 0x8a9136aa), crc32c.of(&zeros));
    try expectEqual(@as(u32, 0x62a8ab43), crc32c.of(&ones));
    try expectEqual(@as(u32, 0xe3069283), crc32c.of("123456789"));
    var bytes: [1000]u8 = undefined;
    for (&bytes, 0..) |*byte, i| byte.* = @truncate(i *% 31 +% 7);
    for (0..bytes.len) |length| {
        const whole = crc32c.of(bytes[0..length]);
        try expectEqual(whole, crc32c.extendByTable(0, bytes[0..length]));
        const third = crc32c.of(bytes[0 .. length / 3]);
        try expectEqual(whole, crc32c.extend(third, bytes[length / 3 .. length]));
    }
}

test "a reader inside holds the epoch after one step, a guest too" {
    var readers: [2]slab.epoch.Reader = undefined;
    var epochs = slab.epoch.Epochs.init(&readers);
    const reader = try epochs.register();
    _ = try epochs.register();
    try std.testing.expectError(error.TooManyReaders, epochs.register());
    const start = epochs.now();
    epochs.enter(reader);
    try expect(epochs.tryAdvance());
    try expect(!epochs.tryAdvance());
    epochs.leave(reader);
    try expect(epochs.tryAdvance());
    try expectEqual(start + 2, epochs.now());
    const ticket = epochs.enterGuest();
    try expect(epochs.tryAdvance());
    try expect(!epochs.tryAdvance());
    epochs.leaveGuest(ticket);
    try expect(epochs.tryAdvance());
}

test "the index takes far more than it holds and loses nothing it did not give up" {
    var failpoint: slab.memory.Failpoint = .{};
    var index = try slab.index.Index.init(&failpoint, 64 * 1024);
    defer index.deinit();
    var seed = std.Random.DefaultPrng.init(1);
    const random = seed.random();
    var stored: [4096]?Hash = @splat(null);
    var given_up: usize = 0;
    for (1..stored.len) |ref| {
        const hash: Hash = .{ .lo = random.int(u64), .hi = random.int(u64) };
        while (index.insert(hash, @intCast(ref))) |victim| {
            const old = stored[victim].?;
            index.remove(index.findRef(old, victim).?, old);
            stored[victim] = null;
            given_up += 1;
        }
        stored[ref] = hash;
    }
    try expect(given_up > 1000);
    var count: usize = 0;
    for (stored, 0..) |entry, ref| {
        const hash = entry orelse continue;
        try expect(index.findRef(hash, @intCast(ref)) != null);
        count += 1;
    }
    try expectEqual(index.used.load(.monotonic), count);
    try expect(count > index.capacity() * 3 / 4);
    for (stored, 0..) |entry, ref| {
        const hash = entry orelse continue;
        index.remove(index.findRef(hash, @intCast(ref)).?, hash);
    }
    for (index.buckets.items) |*bucket| try expectEqual(0, bucket.overflowed.raw);
}

test "head classes grow by about a quarter and fit their page" {
    const classes = slab.size_class;
    const fine: Grain = .{ .step = 1 };
    try expect(classes.count <= 48);
    for (1..classes.head_count) |i| {
        const class: u8 = @intCast(i);
        const bytes = classes.slotBytes(class);
        const below = classes.slotBytes(class - 1);
        try expect(bytes > below and bytes <= below + below / 2);
        try expect(bytes % 64 == 0 and bytes * classes.slotCount(class) <= classes.page_bytes);
    }
    try expectEqual(0, fine.headFor(1));
    for ([_]u8{ 1, 2, 3 }) |step| {
        const grain: Grain = .{ .step = step };
        try expectEqual(classes.none, grain.headFor(classes.head_bytes_max + 1));
        for (1..classes.head_bytes_max + 1) |bytes| {
            const class = grain.headFor(bytes);
            try expect(classes.slotBytes(class) >= bytes);
            if (class >= step) try expect(classes.slotBytes(class - step) < bytes);
        }
    }
}

test "extent classes bracket every tail of a body" {
    const classes = slab.size_class;
    for ([_]u8{ 1, 2, 3 }) |step| {
        const grain: Grain = .{ .step = step };
        var bytes: u64 = 1;
        while (bytes <= classes.page_bytes) : (bytes += 997) {
            try expect(classes.slotBytes(grain.extentAtLeast(bytes)) >= bytes);
            const below = grain.extentFor(bytes);
            try expect(classes.slotBytes(below) <= bytes or classes.slotBytes(below) == classes.granule_bytes);
            try expect(!classes.isHead(below));
        }
    }
}
