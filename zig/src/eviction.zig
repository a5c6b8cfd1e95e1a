//! Eviction order: which object of a size class goes first.
//!
//! Owns: one SIEVE queue (links in the object headers, by reference). Never: removes an object from the
//! index or frees it. The interface is three calls (insert, remove, victim) so that another policy can
//! stand in its place. Called under the slab's lock; a hit only sets the visited bit, from any thread.
//!
//! Source: Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024, algorithm 1.

const std = @import("std");
const Pages = @import("pages.zig").Pages;
const Object = @import("object.zig").Object;

/// Steps of the hand per victim. Past it an object goes though it was visited: a queue of nothing but
/// visited objects must not hold the lock for a full round.
const visited_steps_max = 512;
const pinned_steps_max = 1024;

pub const Queue = struct {
    newest: u32 = 0,
    oldest: u32 = 0,
    /// Next to be looked at; 0: start at the oldest.
    hand: u32 = 0,
    count: u32 = 0,

    pub fn insert(self: *Queue, pages: *Pages, ref: u32) void {
        const object = pages.object(ref);
        object.link_prev = 0;
        object.link_next = self.newest;
        if (self.newest != 0) pages.object(self.newest).link_prev = ref;
        self.newest = ref;
        if (self.oldest == 0) self.oldest = ref;
        self.count += 1;
    }

    pub fn remove(self: *Queue, pages: *Pages, ref: u32) void {
        const object = pages.object(ref);
        if (self.hand == ref) self.hand = object.link_prev;
        if (object.link_prev != 0) {
            pages.object(object.link_prev).link_next = object.link_next;
        } else {
            self.newest = object.link_next;
        }
        if (object.link_next != 0) {
            pages.object(object.link_next).link_prev = object.link_prev;
        } else {
            self.oldest = object.link_prev;
        }
        self.count -= 1;
    }

    /// The object to evict next, still in the queue; 0 when every one looked at is pinned.
    pub fn victim(self: *Queue, pages: *Pages) u32 {
        var visited_steps: u32 = 0;
        var pinned_steps: u32 = 0;
        const bound = @min(pinned_steps_max, self.count);
        while (pinned_steps < bound) {
            const ref = if (self.hand != 0) self.hand else self.oldest;
            if (ref == 0) return 0;
            const object = pages.object(ref);
            if (object.pinCount() != 0) {
                pinned_steps += 1;
            } else if (object.visited.load(.monotonic) != 0 and visited_steps < visited_steps_max) {
                object.visited.store(0, .monotonic);
                visited_steps += 1;
            } else {
                self.hand = ref;
                return ref;
            }
            self.hand = object.link_prev;
        }
        return 0;
    }

    /// The object the hand points at: the coldest that is known without moving the hand; 0 when empty.
    pub fn candidate(self: *const Queue) u32 {
        return if (self.hand != 0) self.hand else self.oldest;
    }
};
