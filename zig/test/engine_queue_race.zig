//! Producers on several threads and one sleeping consumer on the queue between engine and Python. Run
//! under the thread sanitizer: a torn list shows as a race, a lost wake-up as a wait that times out.

const std = @import("std");
const queue_of = @import("neurocache").engine.queue;

const test_producer_count = 4;
const test_node_count = 10_000;
const TestNode = struct { node: queue_of.Node = .{}, producer: u32 = 0, number: u32 = 0 };

fn produce(queue: *queue_of.Queue, nodes: []TestNode) void {
    for (nodes) |*item| queue.push(&item.node);
}

test "nothing is lost or reordered between several producers and a sleeping consumer" {
    var queue: queue_of.Queue = undefined;
    try queue.init();
    defer queue.deinit();
    const nodes = try std.testing.allocator.alloc(TestNode, test_producer_count * test_node_count);
    defer std.testing.allocator.free(nodes);
    var threads: [test_producer_count]std.Thread = undefined;
    for (&threads, 0..) |*thread, producer| {
        const own = nodes[producer * test_node_count ..][0..test_node_count];
        for (own, 0..) |*item, number| {
            item.* = .{ .producer = @intCast(producer), .number = @intCast(number) };
        }
        thread.* = try std.Thread.spawn(.{}, produce, .{ &queue, own });
    }
    var expected: [test_producer_count]u32 = @splat(0);
    var total: usize = 0;
    while (total < nodes.len) {
        if (queue.pop()) |node| {
            const item: *TestNode = @fieldParentPtr("node", node);
            try std.testing.expectEqual(expected[item.producer], item.number);
            expected[item.producer] += 1;
            total += 1;
            continue;
        }
        queue.unsignal();
        if (!queue.isEmpty()) continue;
        // Sleeps as the event loop does: a lost wake-up would hang here, so the wait is bounded.
        try std.testing.expect(queue_of.waitReadable(queue.event_fd, 5_000));
    }
    for (threads) |thread| thread.join();
    try std.testing.expectEqual(null, queue.pop());
}
