//! The few libc calls the engine makes, and its view of the clocks.
//!
//! Owns: declarations with the engine's own names for constants. Never: policy, retries.
//! Why not std.posix: its wrappers turn EAGAIN into error sets and cost branches on the hit path.

const std = @import("std");
const linux = std.os.linux;

pub const EFD_CLOEXEC = 0o2000000;
pub const EFD_NONBLOCK = 0o4000;
pub const EPOLLIN: u32 = 1;
pub const EPOLLOUT: u32 = 4;
pub const EPOLLERR: u32 = 8;
pub const EPOLLHUP: u32 = 16;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
pub const SHUT_WR = 1;
const SOCK_STREAM_FLAGS = 1 | 0o2000000 | 0o4000; // SOCK_STREAM, CLOEXEC, NONBLOCK
const SOCK_ACCEPT_FLAGS = 0o2000000 | 0o4000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_PEEK = 2;

pub const EpollEvent = linux.epoll_event;
pub const Vector = extern struct { base: [*]const u8, length: usize };

pub extern "c" fn eventfd(initial: c_uint, flags: c_int) c_int;
pub extern "c" fn close(fd: c_int) c_int;
pub extern "c" fn read(fd: c_int, to: [*]u8, count: usize) isize;
pub extern "c" fn write(fd: c_int, from: [*]const u8, count: usize) isize;
pub extern "c" fn shutdown(fd: c_int, how: c_int) c_int;
pub extern "c" fn epoll_wait(fd: c_int, events: [*]EpollEvent, count: c_int, timeout: c_int) c_int;
extern "c" fn epoll_create1(flags: c_int) c_int;
extern "c" fn epoll_ctl(fd: c_int, operation: c_int, target: c_int, event: ?*EpollEvent) c_int;
extern "c" fn recv(fd: c_int, to: [*]u8, count: usize, flags: c_int) isize;
extern "c" fn send(fd: c_int, from: [*]const u8, count: usize, flags: c_int) isize;
extern "c" fn sendmsg(fd: c_int, message: *const Message, flags: c_int) isize;
extern "c" fn socket(family: c_int, kind: c_int, protocol: c_int) c_int;
extern "c" fn bind(fd: c_int, address: *const anyopaque, length: u32) c_int;
extern "c" fn listen(fd: c_int, backlog: c_int) c_int;
extern "c" fn accept4(fd: c_int, address: ?*anyopaque, length: ?*u32, flags: c_int) c_int;
extern "c" fn getsockname(fd: c_int, address: *anyopaque, length: *u32) c_int;
extern "c" fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_int, length: u32) c_int;
extern "c" fn inet_pton(family: c_int, text: [*:0]const u8, out: *anyopaque) c_int;
extern "c" fn poll(fds: *PollFd, count: c_ulong, timeout: c_int) c_int;
extern "c" fn clock_gettime(clock: c_int, out: *Timespec) c_int;
extern "c" fn pthread_sigmask(how: c_int, set: *const SignalSet, old: ?*SignalSet) c_int;
extern "c" fn __errno_location() *c_int;
pub extern "c" fn malloc(size: usize) ?*anyopaque;
pub extern "c" fn free(pointer: ?*anyopaque) void;

const Message = extern struct {
    name: ?*anyopaque = null,
    name_length: u32 = 0,
    vectors: [*]const Vector,
    vector_count: usize,
    control: ?*anyopaque = null,
    control_length: usize = 0,
    flags: c_int = 0,
};
const PollFd = extern struct { fd: c_int, events: c_short, revents: c_short };
const Timespec = extern struct { seconds: isize, nanoseconds: isize };
/// glibc and musl both use 1024 bits.
const SignalSet = extern struct { words: [16]u64 };

pub const errno_again = 11;
pub const errno_interrupted = 4;

pub fn errno() i32 {
    return __errno_location().*;
}

/// Errors of accept after which trying again at once would only spin.
pub fn isExhausted(code: i32) bool {
    return code == 23 or code == 24 or code == 105 or code == 12; // ENFILE EMFILE ENOBUFS ENOMEM
}

/// Microseconds of the wall clock since 1970.
pub fn wallMicroseconds() u64 {
    var now: Timespec = undefined;
    _ = clock_gettime(0, &now);
    return @as(u64, @intCast(now.seconds)) * 1_000_000 + @as(u64, @intCast(now.nanoseconds)) / 1000;
}

/// Microseconds of a clock that never jumps.
pub fn steadyMicroseconds() u64 {
    var now: Timespec = undefined;
    _ = clock_gettime(1, &now);
    return @as(u64, @intCast(now.seconds)) * 1_000_000 + @as(u64, @intCast(now.nanoseconds)) / 1000;
}

pub fn createEpoll() c_int {
    return epoll_create1(EFD_CLOEXEC);
}

pub fn watch(epoll: c_int, fd: c_int, events: u32, tag: u64) bool {
    var event = EpollEvent{ .events = events, .data = .{ .u64 = tag } };
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

pub fn rewatch(epoll: c_int, fd: c_int, events: u32, tag: u64) void {
    var event = EpollEvent{ .events = events, .data = .{ .u64 = tag } };
    _ = epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
}

pub fn unwatch(epoll: c_int, fd: c_int) void {
    _ = epoll_ctl(epoll, EPOLL_CTL_DEL, fd, null);
}

pub fn receive(fd: c_int, to: []u8) isize {
    return recv(fd, to.ptr, to.len, MSG_DONTWAIT);
}

pub fn hasBytes(fd: c_int) bool {
    var byte: [1]u8 = undefined;
    return recv(fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) > 0;
}

pub fn sendVectors(fd: c_int, vectors: []const Vector) isize {
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    if (vectors.len == 1) return send(fd, vectors[0].base, vectors[0].length, flags);
    const message = Message{ .vectors = vectors.ptr, .vector_count = vectors.len };
    return sendmsg(fd, &message, flags);
}

pub fn waitReadable(fd: c_int, timeout_ms: c_int) bool {
    var entry = PollFd{ .fd = fd, .events = 1, .revents = 0 };
    return poll(&entry, 1, timeout_ms) == 1;
}

/// Blocks every signal in the calling thread: Python's handlers run in Python's threads.
pub fn blockSignals() void {
    const all = SignalSet{ .words = @splat(std.math.maxInt(u64)) };
    _ = pthread_sigmask(0, &all, null);
}

pub const Address = extern struct {
    /// sockaddr_in or sockaddr_in6 as the kernel has it.
    bytes: [28]u8 align(8) = @splat(0),
    length: u32 = 28,

    const family_inet = 2;
    const family_inet6 = 10;

    pub fn parse(host: [*:0]const u8, port_number: u16) ?Address {
        var address = Address{};
        std.mem.writeInt(u16, address.bytes[2..4], port_number, .big);
        if (inet_pton(family_inet, host, &address.bytes[4]) == 1) {
            std.mem.writeInt(u16, address.bytes[0..2], family_inet, .native);
            address.length = 16;
        } else if (inet_pton(family_inet6, host, &address.bytes[8]) == 1) {
            std.mem.writeInt(u16, address.bytes[0..2], family_inet6, .native);
        } else return null;
        return address;
    }

    fn family(self: *const Address) u16 {
        return std.mem.readInt(u16, self.bytes[0..2], .native);
    }

    pub fn port(self: *const Address) u16 {
        return std.mem.readInt(u16, self.bytes[2..4], .big);
    }

    /// 4 or 6; a mapped IPv4 address counts as 4.
    pub fn copyTo(self: *const Address, out: *[16]u8) u8 {
        out.* = @splat(0);
        if (self.family() == family_inet) {
            out[0..4].* = self.bytes[4..8].*;
            return 4;
        }
        const mapped = [12]u8{ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
        if (std.mem.eql(u8, self.bytes[8..20], &mapped)) {
            out[0..4].* = self.bytes[20..24].*;
            return 4;
        }
        out.* = self.bytes[8..24].*;
        return 6;
    }
};

pub fn isLoopback(family: u8, address: *const [16]u8) bool {
    if (family == 4) return address[0] == 127;
    return std.mem.allEqual(u8, address[0..15], 0) and address[15] == 1;
}

pub fn accept(listener: c_int, address: *Address) c_int {
    address.length = address.bytes.len;
    return accept4(listener, &address.bytes, &address.length, SOCK_ACCEPT_FLAGS);
}

pub fn sendWithoutDelay(fd: c_int) void {
    const on: c_int = 1;
    _ = setsockopt(fd, 6, 1, &on, 4); // IPPROTO_TCP, TCP_NODELAY
}

/// A listening socket, or -1 with errno set. `address` gets the port that the kernel chose.
pub fn listenOn(address: *Address) c_int {
    const fd = socket(address.family(), SOCK_STREAM_FLAGS, 0);
    if (fd < 0) return -1;
    const on: c_int = 1;
    const backlog = 4096;
    const failed = setsockopt(fd, 1, 2, &on, 4) != 0 or // SOL_SOCKET, SO_REUSEADDR
        setsockopt(fd, 1, 15, &on, 4) != 0 or // SO_REUSEPORT
        bind(fd, &address.bytes, address.length) != 0 or
        listen(fd, backlog) != 0 or
        getsockname(fd, &address.bytes, &address.length) != 0;
    if (failed) {
        const code = errno();
        _ = close(fd);
        __errno_location().* = code;
        return -1;
    }
    return fd;
}
