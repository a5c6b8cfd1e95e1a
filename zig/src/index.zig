//! The index: from the hash of a key to the object.
//!
//! Owns: a fixed power-of-two number of 64-byte buckets in memory of its own, and a small overflow area.
//! Never: keeps keys (the objects do) or trusts itself: whoever gets a candidate compares hash and key.
//!
//! A word is tag (32 bits of the hash) and reference (32 bits); 0 is empty. A key has two buckets and goes
//! to the emptier one; when both are full it goes to the overflow area, and when that is full too, `insert`
//! names an occupant to evict. So an insertion never fails. Readers take no lock and only load; writers
//! hold the slab's lock. Loads and stores of words are seq_cst, the proof in epoch.zig needs it (plain moves
//! for loads on x86-64).
//!
//! Cost: 7 entries a bucket, 12.2 bytes an object at a load of 75 %.

const std = @import("std");
const Atomic = std.atomic.Value;
const memory = @import("memory.zig");
const Hash = @import("object.zig").Hash;

pub const entries_per_bucket = 7;
/// An entry for so many arena bytes: objects smaller than this on average meet a full index first.
const arena_bytes_per_entry = 384;
const overflow_count = 1024;
const overflow_probe_max = 16;

pub const Word = Atomic(u64);

const Bucket = extern struct {
    /// Entries in the overflow area that have this first bucket.
    overflowed: Atomic(u64) align(64),
    words: [entries_per_bucket]Word,
};

/// Where a reference stands, and the reference that was compared (the word may change meanwhile).
pub const Match = struct { word: *Word, ref: u32 };

fn tagOf(hash: Hash) u64 {
    return hash.hi & 0xffff_ffff_0000_0000;
}

pub const Index = struct {
    buckets: memory.Table(Bucket),
    overflow: memory.Table(Word),
    mask: u64,
    used: Atomic(u64) = .init(0),

    pub fn init(failpoint: *memory.Failpoint, arena_bytes: u64) memory.Error!Index {
        const wanted = arena_bytes / arena_bytes_per_entry / entries_per_bucket + 1;
        const count = std.math.ceilPowerOfTwoAssert(u64, wanted);
        var buckets = try memory.Table(Bucket).init(failpoint, count);
        errdefer buckets.deinit();
        const overflow = try memory.Table(Word).init(failpoint, overflow_count);
        return .{ .buckets = buckets, .overflow = overflow, .mask = count - 1 };
    }

    pub fn deinit(self: *Index) void {
        self.buckets.deinit();
        self.overflow.deinit();
    }

    pub fn capacity(self: *const Index) u64 {
        return self.buckets.items.len * entries_per_bucket + overflow_count;
    }

    fn first(self: *const Index, hash: Hash) *Bucket {
        return &self.buckets.items[hash.lo & self.mask];
    }

    fn second(self: *const Index, hash: Hash) *Bucket {
        return &self.buckets.items[(hash.lo >> 32 ^ hash.hi *% 0x9e37_79b9_7f4a_7c15) & self.mask];
    }

    fn overflowAt(self: *const Index, hash: Hash, step: usize) *Word {
        return &self.overflow.items[(hash.lo +% step) % overflow_count];
    }

    /// Walks the words that may name the key of this hash. `context.accepts(ref)` compares the object.
    pub inline fn find(self: *const Index, hash: Hash, context: anytype) ?Match {
        const one = self.first(hash);
        const two = self.second(hash);
        @prefetch(two, .{});
        const tag = tagOf(hash);
        for (&one.words) |*word| if (match(word, tag, context)) |found| return found;
        for (&two.words) |*word| if (match(word, tag, context)) |found| return found;
        if (one.overflowed.load(.seq_cst) == 0) return null;
        for (0..overflow_probe_max) |step| {
            if (match(self.overflowAt(hash, step), tag, context)) |found| return found;
        }
        return null;
    }

    inline fn match(word: *Word, tag: u64, context: anytype) ?Match {
        const value = word.load(.seq_cst);
        if (value & 0xffff_ffff_0000_0000 != tag) return null;
        const ref: u32 = @truncate(value);
        if (ref == 0 or !context.accepts(ref)) return null;
        return .{ .word = word, .ref = ref };
    }

    /// Locked. Puts a new reference, or gives the reference of an occupant that must be removed first.
    pub fn insert(self: *Index, hash: Hash, ref: u32) ?u32 {
        const value = tagOf(hash) | ref;
        const one = self.first(hash);
        const two = self.second(hash);
        const one_free = freeWord(one);
        const two_free = freeWord(two);
        const word = if (one_free.count >= two_free.count) one_free.word else two_free.word;
        if (word) |free| {
            free.store(value, .seq_cst);
            _ = self.used.fetchAdd(1, .monotonic);
            return null;
        }
        for (0..overflow_probe_max) |step| {
            const free = self.overflowAt(hash, step);
            if (free.load(.monotonic) != 0) continue;
            _ = one.overflowed.fetchAdd(1, .seq_cst);
            free.store(value, .seq_cst);
            _ = self.used.fetchAdd(1, .monotonic);
            return null;
        }
        const victim = one.words[hash.hi % entries_per_bucket].load(.monotonic);
        return @truncate(victim);
    }

    fn freeWord(bucket: *Bucket) struct { word: ?*Word, count: u32 } {
        var free: ?*Word = null;
        var count: u32 = 0;
        for (&bucket.words) |*word| {
            if (word.load(.monotonic) != 0) continue;
            count += 1;
            free = word;
        }
        return .{ .word = free, .count = count };
    }

    /// Locked. The same key gets another object in one store: no reader sees it missing.
    pub fn replace(word: *Word, hash: Hash, ref: u32) void {
        word.store(tagOf(hash) | ref, .seq_cst);
    }

    /// Locked. `word` came from find or findRef.
    pub fn remove(self: *Index, word: *Word, hash: Hash) void {
        word.store(0, .seq_cst);
        const start = @intFromPtr(self.overflow.items.ptr);
        const address = @intFromPtr(word);
        if (address >= start and address < start + overflow_count * @sizeOf(Word)) {
            _ = self.first(hash).overflowed.fetchSub(1, .seq_cst);
        }
        _ = self.used.fetchSub(1, .monotonic);
    }

    const RefIs = struct {
        ref: u32,
        fn accepts(self: RefIs, ref: u32) bool {
            return self.ref == ref;
        }
    };

    /// Locked. The word of a known object.
    pub fn findRef(self: *Index, hash: Hash, ref: u32) ?*Word {
        const found = self.find(hash, RefIs{ .ref = ref }) orelse return null;
        return found.word;
    }
};
