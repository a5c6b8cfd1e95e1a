//! Dates of HTTP: IMF-fixdate and the two obsolete formats (RFC 9110 section 5.6.7).
//!
//! Owns: text to seconds of the Unix epoch and back. Never: the clock.

const std = @import("std");

pub const imf_length = 29;
const days = [_]*const [3]u8{ "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
const long_days = [_][]const u8{
    "Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
};
const months = [_]*const [3]u8{
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
};

/// Days from 1970-01-01 to the given day of the proleptic Gregorian calendar.
/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn daysFromCivil(year: i64, month: i64, day: i64) i64 {
    const y = if (month <= 2) year - 1 else year;
    const era = @divFloor(y, 400);
    const year_of_era = y - era * 400;
    const shifted = @mod(month + 9, 12);
    const day_of_year = @divTrunc(153 * shifted + 2, 5) + day - 1;
    const day_of_era = year_of_era * 365 + @divTrunc(year_of_era, 4) -
        @divTrunc(year_of_era, 100) + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

/// Writes "Sun, 06 Nov 1994 08:49:37 GMT" for seconds of the Unix epoch.
pub fn format(out: *[imf_length]u8, unix_s: u64) void {
    const day_index = unix_s / 86400;
    const second = unix_s % 86400;
    // Civil from days, same source as above.
    const z = day_index + 719468;
    const era = z / 146097;
    const day_of_era = z - era * 146097;
    const year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 -
        day_of_era / 146096) / 365;
    const day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    const shifted = (5 * day_of_year + 2) / 153;
    const day = day_of_year - (153 * shifted + 2) / 5 + 1;
    const month = if (shifted < 10) shifted + 3 else shifted - 9;
    const year = year_of_era + era * 400 + @intFromBool(month <= 2);
    @memcpy(out[0..3], days[@intCast((day_index + 4) % 7)]);
    out[3..5].* = ", ".*;
    put2(out[5..7], day);
    out[7] = ' ';
    @memcpy(out[8..11], months[@intCast(month - 1)]);
    out[11] = ' ';
    put2(out[12..14], year / 100);
    put2(out[14..16], year % 100);
    out[16] = ' ';
    put2(out[17..19], second / 3600);
    out[19] = ':';
    put2(out[20..22], second / 60 % 60);
    out[22] = ':';
    put2(out[23..25], second % 60);
    out[25..29].* = " GMT".*;
}

fn put2(out: *[2]u8, value: u64) void {
    out[0] = '0' + @as(u8, @intCast(value / 10 % 10));
    out[1] = '0' + @as(u8, @intCast(value % 10));
}

const Reader = struct {
    bytes: []const u8,
    at: usize = 0,
    failed: bool = false,

    fn literal(self: *Reader, wanted: []const u8) void {
        if (!std.mem.startsWith(u8, self.bytes[self.at..], wanted)) {
            self.failed = true;
        } else self.at += wanted.len;
    }

    fn digits(self: *Reader, count: usize) i64 {
        if (self.failed or self.bytes.len - self.at < count) {
            self.failed = true;
            return 0;
        }
        var value: i64 = 0;
        for (self.bytes[self.at..][0..count]) |c| {
            if (c < '0' or c > '9') self.failed = true else value = value * 10 + (c - '0');
        }
        self.at += count;
        return value;
    }

    fn month(self: *Reader) i64 {
        for (months, 1..) |name, number| {
            if (std.mem.startsWith(u8, self.bytes[self.at..], name)) {
                self.at += 3;
                return @intCast(number);
            }
        }
        self.failed = true;
        return 1;
    }

    fn clock(self: *Reader) i64 {
        const hour = self.digits(2);
        self.literal(":");
        const minute = self.digits(2);
        self.literal(":");
        const second = self.digits(2);
        if (hour > 23 or minute > 59 or second > 60) self.failed = true;
        return hour * 3600 + minute * 60 + second;
    }
};

/// Seconds of the Unix epoch, or null for what is no HTTP-date or lies before 1970. `now_s` decides
/// the century of two-digit years: a date over 50 years ahead is in the past (section 5.6.7).
pub fn parse(bytes: []const u8, now_s: u64) ?u64 {
    var year: i64 = 0;
    var month: i64 = 0;
    var day: i64 = 0;
    var second: i64 = 0;
    var reader = Reader{ .bytes = bytes };
    if (bytes.len == imf_length and startsWithDay(bytes) and bytes[3] == ',') {
        reader.at = 3;
        reader.literal(", ");
        day = reader.digits(2);
        reader.literal(" ");
        month = reader.month();
        reader.literal(" ");
        year = reader.digits(4);
        reader.literal(" ");
        second = reader.clock();
        reader.literal(" GMT");
    } else if (bytes.len == 24 and startsWithDay(bytes)) {
        reader.at = 3;
        reader.literal(" ");
        month = reader.month();
        reader.literal(" ");
        if (reader.at < bytes.len and bytes[reader.at] == ' ') {
            reader.at += 1;
            day = reader.digits(1);
        } else day = reader.digits(2);
        reader.literal(" ");
        second = reader.clock();
        reader.literal(" ");
        year = reader.digits(4);
    } else {
        const long = for (long_days) |name| {
            if (std.mem.startsWith(u8, bytes, name)) break name;
        } else return null;
        reader.at = long.len;
        reader.literal(", ");
        day = reader.digits(2);
        reader.literal("-");
        month = reader.month();
        reader.literal("-");
        year = reader.digits(2);
        reader.literal(" ");
        second = reader.clock();
        reader.literal(" GMT");
        const this_year: i64 = 1970 + @as(i64, @intCast(now_s / 31556952));
        year += @divTrunc(this_year, 100) * 100;
        if (year > this_year + 50) year -= 100;
    }
    if (reader.failed or reader.at != bytes.len) return null;
    if (day < 1 or day > daysInMonth(year, month)) return null;
    const total = daysFromCivil(year, month, day) * 86400 + second;
    return if (total < 0) null else @intCast(total);
}

fn startsWithDay(bytes: []const u8) bool {
    for (days) |name| if (std.mem.startsWith(u8, bytes, name)) return true;
    return false;
}

fn daysInMonth(year: i64, month: i64) i64 {
    const next_year = if (month == 12) year + 1 else year;
    const next_month = if (month == 12) 1 else month + 1;
    return daysFromCivil(next_year, next_month, 1) - daysFromCivil(year, month, 1);
}

test "the three formats of RFC 9110 section 5.6.7 name one instant" {
    const now = 1_700_000_000;
    for ([_][]const u8{
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    }) |text| try std.testing.expectEqual(784111777, parse(text, now));
    for ([_][]const u8{
        "",                               "0",                             "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",  "Sun, 31 Feb 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ", "sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov -994 08:49:37 GMT",
    }) |text| try std.testing.expectEqual(null, parse(text, now));
}

test "format and parse are inverse" {
    var out: [imf_length]u8 = undefined;
    var at: u64 = 0;
    while (at < 4_200_000_000) : (at += 86_400 * 17 + 12_345) {
        format(&out, at);
        try std.testing.expectEqual(at, parse(&out, 1_700_000_000));
    }
}
