//! The catalog: which objects are in the index and in the eviction queues.
//!
//! Owns: the steps in which an object becomes findable and ceases to be. Never: allocates or frees slots.
//! Everything that says "locked" is called under the slab's lock.

const std = @import("std");
const size_class = @import("size_class.zig");
const pages_module = @import("pages.zig");
const object_module = @import("object.zig");
const space = @import("space.zig");
const stats = @import("stats.zig");
const Index = @import("index.zig").Index;
const Slab = @import("slab.zig").Slab;
const Object = object_module.Object;

/// The queue that an object stands in: evicting it frees at least one slot of that class. An object with
/// extents stands with its largest one, for its head slot is the least part of it.
pub fn queueClass(slab: *Slab, object: *Object) u8 {
    if (!object.hasExtents()) return object.size_class;
    const extents = slab.extents(object);
    if (extents.len == 0) return object.size_class;
    const first = slab.pages.classOf(extents[0].ref);
    return @max(first, slab.pages.classOf(extents[extents.len - 1].ref));
}

/// Locked. A LIVE object becomes the one of its key; an older one leaves.
pub fn insert(slab: *Slab, object: *Object) void {
    const ref = slab.refOf(object);
    const hash = object.hash;
    if (slab.findMatch(hash, object.key())) |found| {
        const old = slab.pages.object(found.ref);
        Index.replace(found.word, hash, ref);
        leave(slab, old);
    } else {
        // Each round frees an entry of the first bucket, so there are two rounds at most.
        while (slab.index.insert(hash, ref)) |victim| space.evict(slab, slab.pages.object(victim));
    }
    _ = object.marks.fetchOr(object_module.mark_indexed, .monotonic);
    slab.queues[queueClass(slab, object)].insert(&slab.pages, ref);
    stats.account(slab, object, .in);
}

/// Locked. The object leaves the index and waits for its readers. Its state stays LIVE: whoever has it
/// pinned may send it to the end.
pub fn unlink(slab: *Slab, object: *Object) void {
    if (slab.index.findRef(object.hash, slab.refOf(object))) |word| slab.index.remove(word, object.hash);
    leave(slab, object);
}

fn leave(slab: *Slab, object: *Object) void {
    _ = object.marks.fetchAnd(~object_module.mark_indexed, .monotonic);
    slab.queues[queueClass(slab, object)].remove(&slab.pages, slab.refOf(object));
    stats.account(slab, object, .out);
    space.retire(slab, object);
}

pub fn delete(slab: *Slab, key: []const u8) error{NotFound}!void {
    const hash = slab.hashKey(key);
    slab.lock();
    defer slab.unlock();
    const found = slab.findMatch(hash, key) orelse return error.NotFound;
    unlink(slab, slab.pages.object(found.ref));
    slab.counters.deletes.add(1);
    _ = space.reclaim(slab, 64);
}

/// Finds and pins, on a thread that is no registered reader. The caller owes an unpin.
pub fn acquire(slab: *Slab, key: []const u8, is_access: bool) ?*Object {
    const hash = slab.hashKey(key);
    slab.counters.lookups.add(1);
    const ticket = slab.epochs.enterGuest();
    defer slab.epochs.leaveGuest(ticket);
    const object = slab.find(hash, key) orelse return null;
    slab.pin(object);
    if (is_access) slab.touch(object);
    slab.counters.lookup_hits.add(1);
    return object;
}

/// The first indexed object at or after the cursor, pinned; the cursor moves past it.
pub fn scan(slab: *Slab, cursor: *u64) ?*Object {
    const page_units = size_class.page_bytes / object_module.unit_bytes;
    while (cursor.* / page_units < slab.arena.pageCount()) {
        const ticket = slab.epochs.enterGuest();
        defer slab.epochs.leaveGuest(ticket);
        const page: u32 = @intCast(cursor.* / page_units);
        const class = slab.pages.table.items[page].class.load(.acquire);
        if (class < size_class.head_count) {
            const units = size_class.slotBytes(class) / object_module.unit_bytes;
            var slot: u32 = @intCast((cursor.* % page_units + units - 1) / units);
            while (slot < size_class.slotCount(class)) : (slot += 1) {
                const ref = pages_module.refOf(page, class, slot);
                if (tryPinIndexed(slab, slab.pages.object(ref))) |object| {
                    cursor.* = @as(u64, ref) + units;
                    return object;
                }
            }
        }
        cursor.* = (@as(u64, page) + 1) * page_units;
    }
    return null;
}

fn tryPinIndexed(slab: *Slab, object: *Object) ?*Object {
    if (object.generation.load(.acquire) == 0) return null;
    if (object.state() != .live or !object.isIndexed()) return null;
    return slab.pinHandle(slab.handleOf(object));
}

/// New freshness after a 304; the caller has the object pinned.
pub fn refresh(object: *Object, born: u32, expires: u32, swr_s: u32, sie_s: u32) void {
    object.born_word.store(born, .monotonic);
    object.stale_while_revalidate_word.store(swr_s, .monotonic);
    object.stale_if_error_word.store(sie_s, .monotonic);
    object.expires_word.store(expires, .release);
}
