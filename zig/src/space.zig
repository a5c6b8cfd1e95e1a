//! Space: where a free slot comes from when none is free, and when a dead object's slots are free again.
//!
//! Owns: the retire list (left the index, waiting for epochs), the list of those that epochs let go but a
//! pin holds, eviction, and moving pages between classes. Never: blocks a reader. Everything is bounded:
//! steps of a hand, pages tried, waits for readers; past the bounds the answer is error.NoSpace.
//! Everything that says "locked" is called under the slab's lock.

const std = @import("std");
const size_class = @import("size_class.zig");
const pages_module = @import("pages.zig");
const catalog = @import("catalog.zig");
const Slab = @import("slab.zig").Slab;
const Object = @import("object.zig").Object;
const TableHeader = @import("object.zig").TableHeader;

/// Waits for readers to leave: yields, then naps; about 20 ms in all.
const waits_max = 200;
const yields_max = 20;
const nap_ns = 100_000;
/// Objects looked at when a class gives up a page, and pages of the arena looked at after that.
const candidates_max = 64;
const pages_scanned_max = 4096;
const donors_max = 4;

/// First in, first out, linked through the headers.
const Line = struct {
    first: u32 = 0,
    last: u32 = 0,
    count: u32 = 0,

    fn push(self: *Line, slab: *Slab, object: *Object) void {
        const ref = slab.refOf(object);
        object.link_next = 0;
        if (self.last == 0) self.first = ref else slab.pages.object(self.last).link_next = ref;
        self.last = ref;
        self.count += 1;
    }

    fn pop(self: *Line, slab: *Slab) *Object {
        const object = slab.pages.object(self.first);
        self.first = object.link_next;
        if (self.first == 0) self.last = 0;
        self.count -= 1;
        return object;
    }
};

pub const Retired = struct {
    waiting: Line = .{},
    pinned: Line = .{},
};

/// Evictions of each class since pages last moved, halved at each move.
pub const Pressure = struct {
    evictions: [size_class.count]u64 = @splat(0),
    page_cursor: u32 = 0,
};

/// Locked. The object has left the index, or never was in it.
pub fn retire(slab: *Slab, object: *Object) void {
    object.link_prev = @truncate(slab.epochs.now());
    slab.retired.waiting.push(slab, object);
    slab.counters.objects_retired.add(1);
}

/// Locked. Frees what neither an epoch nor a pin holds; looks at no more than `pinned_max` pinned ones.
pub fn reclaim(slab: *Slab, pinned_max: u32) u64 {
    const waiting = &slab.retired.waiting;
    if (waiting.count != 0 or slab.pages.hasRetired()) {
        if (slab.epochs.tryAdvance()) _ = slab.epochs.tryAdvance();
    }
    const epoch = slab.epochs.now();
    const epoch_low: u32 = @truncate(epoch);
    var freed: u64 = 0;
    while (waiting.first != 0 and epoch_low -% slab.pages.object(waiting.first).link_prev >= 2) {
        freed += release(slab, waiting.pop(slab), epoch);
    }
    for (0..@min(pinned_max, slab.retired.pinned.count)) |_| {
        freed += release(slab, slab.retired.pinned.pop(slab), epoch);
    }
    slab.pages.reclaim(epoch);
    return freed;
}

fn release(slab: *Slab, object: *Object, epoch: u64) u64 {
    if (!object.tryClosePins()) {
        slab.retired.pinned.push(slab, object);
        return 0;
    }
    slab.counters.objects_retired.sub(1);
    freeSlots(slab, object, epoch);
    return 1;
}

/// Locked. Gives back the slots of an object whose pins are closed.
pub fn freeSlots(slab: *Slab, object: *Object, epoch: u64) void {
    if (object.hasExtents()) {
        for (slab.extents(object)) |extent| giveExtent(slab, extent.ref, epoch);
        var table = slab.extentHeader(object).table.load(.monotonic);
        while (table != 0) {
            const header: *TableHeader = @ptrCast(slab.pages.object(table));
            const previous = header.previous;
            giveExtent(slab, table, epoch);
            table = previous;
        }
    }
    object.close();
    slab.pages.give(slab.refOf(object), epoch);
}

/// Locked.
pub fn giveExtent(slab: *Slab, ref: u32, epoch: u64) void {
    ownerOf(slab, ref).store(0, .release);
    slab.pages.give(ref, epoch);
}

pub fn ownerOf(slab: *Slab, ref: u32) *std.atomic.Value(u32) {
    return &slab.owners.items[@as(u64, ref) * 64 / size_class.granule_bytes];
}

/// A slot of the class, evicting if need be. Called without the lock, outside epochs.
pub fn allocate(slab: *Slab, class: u8) error{NoSpace}!u32 {
    if (slab.failpoint.passes()) {
        if (slab.pages.tryTake(class)) |ref| return ref;
        if (allocateSlowly(slab, class)) |ref| return ref;
    }
    slab.counters.allocation_failures.add(1);
    return error.NoSpace;
}

fn allocateSlowly(slab: *Slab, class: u8) ?u32 {
    slab.lock();
    defer slab.unlock();
    var waits: u32 = 0;
    while (true) {
        if (slab.pages.take(class)) |ref| return ref;
        _ = reclaim(slab, slab.retired.pinned.count);
        if (slab.pages.take(class)) |ref| return ref;
        // While something waits for readers, more evictions would only empty the cache further.
        const pending = slab.retired.waiting.count != 0 or slab.pages.hasRetired();
        if (!pending or waits % 16 == 15) {
            const made = makeRoom(slab, class);
            if (!made and !pending) return null;
            // Twice: a page that an evacuation emptied waits for two epochs more than its objects.
            _ = reclaim(slab, 0);
            _ = reclaim(slab, 0);
            if (slab.pages.take(class)) |ref| return ref;
        }
        if (waits == waits_max) return null;
        waits += 1;
        slab.unlock();
        pause(waits);
        slab.lock();
    }
}

fn pause(waits: u32) void {
    if (waits < yields_max) {
        _ = std.c.sched_yield();
    } else {
        const nap: std.c.timespec = .{ .sec = 0, .nsec = nap_ns };
        _ = std.c.nanosleep(&nap, null);
    }
}

/// Locked. Sends something toward the class's free slots; false when nothing can go.
fn makeRoom(slab: *Slab, class: u8) bool {
    const owned = slab.pages.classes[class].page_count.load(.monotonic);
    if (owned == 0 or isStarved(slab, class)) {
        if (movePage(slab, class, owned == 0)) return true;
    }
    const wanted: u32 = if (size_class.slotBytes(class) <= 4096) 8 else 1;
    var evicted: u32 = 0;
    while (evicted < wanted) : (evicted += 1) {
        const ref = slab.queues[class].victim(&slab.pages);
        if (ref == 0) break;
        evict(slab, slab.pages.object(ref));
    }
    return evicted != 0 or movePage(slab, class, true);
}

/// Locked.
pub fn evict(slab: *Slab, object: *Object) void {
    const class = catalog.queueClass(slab, object);
    slab.pressure.evictions[class] += 1;
    slab.counters.classes[class].evictions.add(1);
    slab.counters.evictions.add(1);
    slab.counters.evicted_bytes.add(object.bodyLength());
    catalog.unlink(slab, object);
}

/// Evictions for each slot owned, in 1/1024: how fast a class turns its contents over.
fn turnover(slab: *Slab, class: u8) u64 {
    const pages = slab.pages.classes[class].page_count.load(.monotonic);
    const slots = @as(u64, pages) * size_class.slotCount(class);
    return slab.pressure.evictions[class] * 1024 / @max(slots, 1);
}

/// Asked once for each page's worth of evictions: has another class kept its contents much longer?
fn isStarved(slab: *Slab, class: u8) bool {
    const evictions = slab.pressure.evictions[class];
    if (evictions < size_class.slotCount(class)) return false;
    if (evictions % size_class.slotCount(class) >= 8) return false;
    const donor = coldest(slab, class, 0) orelse return false;
    return turnover(slab, donor) * 2 < turnover(slab, class);
}

/// The class of the lowest turnover (of the most pages among equals), those in `tried` left out.
fn coldest(slab: *Slab, taker: u8, tried: u64) ?u8 {
    var best: ?u8 = null;
    var best_turnover: u64 = 0;
    var best_pages: u32 = 0;
    for (0..size_class.count) |at| {
        const class: u8 = @intCast(at);
        const pages = slab.pages.classes[class].page_count.load(.monotonic);
        if (class == taker or pages == 0 or tried >> @intCast(class) & 1 != 0) continue;
        const value = turnover(slab, class);
        if (best == null or value < best_turnover or (value == best_turnover and pages > best_pages)) {
            best = class;
            best_turnover = value;
            best_pages = pages;
        }
    }
    return best;
}

/// Locked. Starts to empty a page of another class; its slots come by reclaim.
fn movePage(slab: *Slab, taker: u8, is_forced: bool) bool {
    var tried: u64 = 0;
    for (0..donors_max) |_| {
        const donor = coldest(slab, taker, tried) orelse break;
        tried |= @as(u64, 1) << @intCast(donor);
        const pages = slab.pages.classes[donor].page_count.load(.monotonic);
        if (!is_forced and pages < 2) continue;
        if (emptyColdPage(slab, donor)) return countMove(slab);
    }
    if (!is_forced) return false;
    const total = slab.arena.pageCount();
    for (0..@min(pages_scanned_max, total)) |_| {
        slab.pressure.page_cursor = (slab.pressure.page_cursor + 1) % total;
        const class = slab.pages.table.items[slab.pressure.page_cursor].class.load(.monotonic);
        if (class == size_class.none or class == taker) continue;
        if (evacuate(slab, slab.pressure.page_cursor)) return countMove(slab);
    }
    return false;
}

fn countMove(slab: *Slab) bool {
    for (&slab.pressure.evictions) |*count| count.* /= 2;
    slab.counters.pages_moved.add(1);
    return true;
}

/// Tries the pages of the objects that the donor would evict next.
fn emptyColdPage(slab: *Slab, donor: u8) bool {
    var ref = slab.queues[donor].candidate();
    var last_page = pages_module.none;
    for (0..candidates_max) |_| {
        if (ref == 0) return false;
        const object = slab.pages.object(ref);
        const newer = object.link_prev;
        const page = pageOfClass(slab, object, donor);
        if (page != pages_module.none and page != last_page) {
            if (evacuate(slab, page)) return true;
            last_page = page;
        }
        ref = newer;
    }
    return false;
}

fn pageOfClass(slab: *Slab, object: *Object, class: u8) u32 {
    if (size_class.isHead(class)) return pages_module.pageOf(slab.refOf(object));
    for (slab.extents(object)) |extent| {
        if (slab.pages.classOf(extent.ref) == class) return pages_module.pageOf(extent.ref);
    }
    return pages_module.none;
}

/// Locked. Evicts everything on a page, or nothing when a pinned or filling object is there.
fn evacuate(slab: *Slab, index: u32) bool {
    const page = &slab.pages.table.items[index];
    if (page.draining) return false;
    const class = page.class.load(.monotonic);
    const slots = size_class.slotCount(class);
    const free = slab.pages.beginDrain(index);
    for (0..slots) |slot| {
        if (slab.pages.isFreeInDrain(@intCast(slot))) continue;
        const object = occupant(slab, index, class, @intCast(slot)) orelse {
            slab.pages.cancelDrain(index);
            return false;
        };
        if (!mayLeave(object)) {
            slab.pages.cancelDrain(index);
            return false;
        }
    }
    for (0..slots) |slot| {
        if (slab.pages.isFreeInDrain(@intCast(slot))) continue;
        const object = occupant(slab, index, class, @intCast(slot)).?;
        if (object.isIndexed()) evict(slab, object);
    }
    if (free == slots) slab.pages.retire(index, slab.epochs.now());
    return true;
}

/// The object that a slot belongs to; null: taken, but not yet given to one.
fn occupant(slab: *Slab, page: u32, class: u8, slot: u32) ?*Object {
    const ref = pages_module.refOf(page, class, slot);
    if (size_class.isHead(class)) return slab.pages.object(ref);
    const owner = ownerOf(slab, ref).load(.acquire);
    return if (owner == 0) null else slab.pages.object(owner);
}

/// Indexed, or retired already: not pinned, not filling, not just being made.
fn mayLeave(object: *Object) bool {
    const state = object.state();
    return (state == .live or state == .dead) and object.pins.load(.acquire) == 0;
}

/// Locked.
pub fn anyPinned(slab: *Slab) bool {
    for (slab.pages.table.items, 0..) |*page, index| {
        const class = page.class.load(.monotonic);
        if (class >= size_class.head_count) continue;
        for (0..size_class.slotCount(class)) |slot| {
            if (!slab.pages.isTaken(@intCast(index), @intCast(slot))) continue;
            const object = slab.pages.object(pages_module.refOf(@intCast(index), class, @intCast(slot)));
            if (object.state() != .free and object.pinCount() != 0) return true;
        }
    }
    return false;
}
