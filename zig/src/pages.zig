//! Pages and the free slots in them.
//!
//! Owns: which class a page belongs to, the bitmap of free slots of each page, the pool of free pages.
//! Never: looks into slots, except to make fresh head slots empty ones.
//!
//! Free slots are bits in side memory rather than links in the slots: taking one is one atomic AND without
//! a lock, there is no ABA, nothing can be torn, and a page's free slots can be taken away at once when it
//! moves to another class. Everything that says "locked" is called under the slab's lock.

const std = @import("std");
const Atomic = std.atomic.Value;
const memory = @import("memory.zig");
const size_class = @import("size_class.zig");
const Arena = @import("arena.zig").Arena;
const Object = @import("object.zig").Object;

pub const none: u32 = std.math.maxInt(u32);
const unit_bytes = @import("object.zig").unit_bytes;
const page_units: u32 = size_class.page_bytes / unit_bytes;
const word_count_max = 64;

pub const Page = struct {
    class: Atomic(u8),
    /// Word where the last free slot was found.
    hint: Atomic(u8),
    in_partial: bool,
    /// On its way to the pool: freed slots are counted, not offered.
    draining: bool,
    drained: u32,
    /// Partial list of the class, or the list of retired pages.
    next: u32,
    previous: u32,
    retired_at: u64,
    words: [word_count_max]Atomic(u64),

    fn freeCount(self: *const Page) u32 {
        var count: u32 = 0;
        for (&self.words) |*word| count += @popCount(word.load(.monotonic));
        return count;
    }
};

pub const Class = struct {
    /// The page that allocations without the lock take from.
    current: Atomic(u32),
    partial: u32,
    page_count: Atomic(u32),
};

pub fn pageOf(ref: u32) u32 {
    return ref / page_units;
}

pub fn refOf(page: u32, class: u8, slot: u32) u32 {
    return page * page_units + slot * @as(u32, @intCast(size_class.slotBytes(class) / unit_bytes));
}

/// Slot index of a reference, or null when it is not the start of a slot of this class.
pub fn slotOf(ref: u32, class: u8) ?u32 {
    const units: u32 = @intCast(size_class.slotBytes(class) / unit_bytes);
    const offset = ref % page_units;
    if (offset % units != 0) return null;
    const slot = offset / units;
    return if (slot < size_class.slotCount(class)) slot else null;
}

/// A word of the bitmap when all its slots are free.
fn fullWord(class: u8, at: usize) u64 {
    const slots = size_class.slotCount(class) -| at * 64;
    return if (slots >= 64) ~@as(u64, 0) else (@as(u64, 1) << @intCast(slots)) - 1;
}

pub const Pages = struct {
    arena: *Arena,
    table: memory.Table(Page),
    /// Stack of free pages.
    pool: memory.Table(u32),
    pool_count: Atomic(u32) = .init(0),
    classes: [size_class.count]Class,
    retired_first: u32 = none,
    retired_last: u32 = none,
    draining_count: u32 = 0,
    /// Free bits of the page whose drain is being prepared.
    saved: [word_count_max]u64 = @splat(0),

    pub fn init(arena: *Arena, failpoint: *memory.Failpoint) memory.Error!Pages {
        const count = arena.pageCount();
        var table = try memory.Table(Page).init(failpoint, count);
        errdefer table.deinit();
        var pool = try memory.Table(u32).init(failpoint, count);
        for (table.items) |*page| page.class = .init(size_class.none);
        // Page 0 holds the superblock; low pages are handed out first.
        for (1..count) |index| pool.items[count - 1 - index] = @intCast(index);
        return .{
            .arena = arena,
            .table = table,
            .pool = pool,
            .pool_count = .init(count - 1),
            .classes = @splat(.{
                .current = .init(none),
                .partial = none,
                .page_count = .init(0),
            }),
        };
    }

    pub fn deinit(self: *Pages) void {
        self.table.deinit();
        self.pool.deinit();
    }

    pub fn object(self: *const Pages, ref: u32) *Object {
        return @ptrCast(@alignCast(self.arena.bytes[@as(usize, ref) * unit_bytes ..].ptr));
    }

    pub fn classOf(self: *const Pages, ref: u32) u8 {
        return self.table.items[pageOf(ref)].class.load(.acquire);
    }

    /// A free slot of the class's current page, without a lock.
    pub fn tryTake(self: *Pages, class: u8) ?u32 {
        const page = self.classes[class].current.load(.acquire);
        if (page == none) return null;
        return self.takeFrom(page, class);
    }

    fn takeFrom(self: *Pages, index: u32, class: u8) ?u32 {
        const page = &self.table.items[index];
        const words = (size_class.slotCount(class) + 63) / 64;
        const first = page.hint.load(.monotonic) % words;
        for (0..words) |step| {
            const at = (first + step) % words;
            var word = page.words[at].load(.monotonic);
            while (word != 0) {
                const mask = word & (0 -% word);
                const before = page.words[at].fetchAnd(~mask, .acq_rel);
                if (before & mask == 0) {
                    word = before;
                    continue;
                }
                // The page may have changed its class since `current` was read. The bits of the new class
                // were released after the class, so this load sees it; the bit goes back unused.
                if (page.class.load(.acquire) != class) {
                    _ = page.words[at].fetchOr(mask, .release);
                    return null;
                }
                page.hint.store(@intCast(at), .monotonic);
                return refOf(index, class, @intCast(at * 64 + @ctz(mask)));
            }
        }
        return null;
    }

    /// Locked. A slot from any page of the class, else from a page of the pool.
    pub fn take(self: *Pages, class: u8) ?u32 {
        if (self.tryTake(class)) |ref| return ref;
        const owner = &self.classes[class];
        while (owner.partial != none) {
            const index = owner.partial;
            self.unlinkPartial(class, index);
            owner.current.store(index, .release);
            if (self.takeFrom(index, class)) |ref| return ref;
        }
        const index = self.takePage() orelse return null;
        self.assign(index, class);
        owner.current.store(index, .release);
        return self.takeFrom(index, class);
    }

    fn takePage(self: *Pages) ?u32 {
        const count = self.pool_count.load(.monotonic);
        if (count == 0) return null;
        self.pool_count.store(count - 1, .monotonic);
        return self.pool.items[count - 1];
    }

    fn assign(self: *Pages, index: u32, class: u8) void {
        const page = &self.table.items[index];
        const slots = size_class.slotCount(class);
        if (size_class.isHead(class)) {
            // Whoever holds a stale handle may look here: each slot start must be a header.
            for (0..slots) |slot| self.object(refOf(index, class, @intCast(slot))).format();
        }
        self.arena.recordClass(index, class);
        page.class.store(class, .release);
        page.hint.store(0, .monotonic);
        page.draining = false;
        page.drained = 0;
        _ = self.classes[class].page_count.fetchAdd(1, .monotonic);
        for (&page.words, 0..) |*word, at| word.store(fullWord(class, at), .release);
    }

    fn linkPartial(self: *Pages, class: u8, index: u32) void {
        const page = &self.table.items[index];
        const owner = &self.classes[class];
        page.in_partial = true;
        page.previous = none;
        page.next = owner.partial;
        if (owner.partial != none) self.table.items[owner.partial].previous = index;
        owner.partial = index;
    }

    fn unlinkPartial(self: *Pages, class: u8, index: u32) void {
        const page = &self.table.items[index];
        if (page.next != none) self.table.items[page.next].previous = page.previous;
        if (page.previous != none) {
            self.table.items[page.previous].next = page.next;
        } else {
            self.classes[class].partial = page.next;
        }
        page.in_partial = false;
    }

    /// Locked. Gives a slot back; `epoch` stamps the page if this empties it.
    pub fn give(self: *Pages, ref: u32, epoch: u64) void {
        const index = pageOf(ref);
        const page = &self.table.items[index];
        const class = page.class.load(.monotonic);
        const slot = slotOf(ref, class).?;
        if (page.draining) {
            page.drained += 1;
            if (page.drained == size_class.slotCount(class)) self.retire(index, epoch);
            return;
        }
        const mask = @as(u64, 1) << @intCast(slot % 64);
        const before = page.words[slot / 64].fetchOr(mask, .release);
        if (self.classes[class].current.load(.monotonic) == index) return;
        if (!page.in_partial) self.linkPartial(class, index);
        // The other words are worth a look only when this one became full.
        if ((before | mask) != fullWord(class, slot / 64)) return;
        if (page.freeCount() < size_class.slotCount(class)) return;
        if (self.beginDrain(index) == size_class.slotCount(class)) {
            self.retire(index, epoch);
        } else {
            self.cancelDrain(index);
        }
    }

    /// Locked. Stops offering the page's slots; gives how many were free. `isFreeInDrain` then tells
    /// which. One drain is prepared at a time; it ends by cancelDrain, or stands.
    pub fn beginDrain(self: *Pages, index: u32) u32 {
        const page = &self.table.items[index];
        const class = page.class.load(.monotonic);
        if (page.in_partial) self.unlinkPartial(class, index);
        if (self.classes[class].current.load(.monotonic) == index) {
            self.classes[class].current.store(none, .release);
        }
        page.draining = true;
        page.drained = 0;
        self.draining_count += 1;
        for (&page.words, &self.saved) |*word, *saved| {
            saved.* = word.swap(0, .acq_rel);
            page.drained += @popCount(saved.*);
        }
        return page.drained;
    }

    /// Locked, between beginDrain and the next give.
    pub fn isFreeInDrain(self: *const Pages, slot: u32) bool {
        return self.saved[slot / 64] >> @intCast(slot % 64) & 1 != 0;
    }

    /// Locked. The page serves its class again.
    pub fn cancelDrain(self: *Pages, index: u32) void {
        const page = &self.table.items[index];
        page.draining = false;
        self.draining_count -= 1;
        for (&page.words, &self.saved) |*word, saved| _ = word.fetchOr(saved, .release);
        self.linkPartial(page.class.load(.monotonic), index);
    }

    /// Locked. An empty page waits for readers, then joins the pool.
    pub fn retire(self: *Pages, index: u32, epoch: u64) void {
        const page = &self.table.items[index];
        _ = self.classes[page.class.load(.monotonic)].page_count.fetchSub(1, .monotonic);
        page.class.store(size_class.none, .release);
        self.arena.recordClass(index, size_class.none);
        page.draining = false;
        self.draining_count -= 1;
        page.retired_at = epoch;
        page.next = none;
        if (self.retired_last == none) {
            self.retired_first = index;
        } else {
            self.table.items[self.retired_last].next = index;
        }
        self.retired_last = index;
    }

    /// Locked. Pages whose grace has passed join the pool: until then a reader that checks a stale handle
    /// may still look at the headers of their old class.
    pub fn reclaim(self: *Pages, epoch: u64) void {
        while (self.retired_first != none) {
            const index = self.retired_first;
            const page = &self.table.items[index];
            if (page.retired_at + 2 > epoch) return;
            self.retired_first = page.next;
            if (page.next == none) self.retired_last = none;
            const count = self.pool_count.load(.monotonic);
            self.pool.items[count] = index;
            self.pool_count.store(count + 1, .monotonic);
        }
    }

    /// True while a page waits for readers: waiting helps.
    pub fn hasRetired(self: *const Pages) bool {
        return self.retired_first != none;
    }

    /// Whether the slot holds something or is being filled, as far as the free bits say.
    pub fn isTaken(self: *const Pages, index: u32, slot: u32) bool {
        const word = self.table.items[index].words[slot / 64].load(.acquire);
        return word >> @intCast(slot % 64) & 1 == 0;
    }
};
