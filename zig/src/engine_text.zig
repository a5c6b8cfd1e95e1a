//! Texts of response heads: reason phrases and a writer for the output buffer.
//!
//! Owns: bytes. Never: decisions.

const std = @import("std");
const scan = @import("http1_scan.zig");

/// Reason phrase of RFC 9110 section 15, or of the RFC that registered the code.
pub fn reason(status: u16) []const u8 {
    return switch (status) {
        100 => "Continue",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        else => "Unknown",
    };
}

/// Appends to a buffer that is known to be large enough.
pub const Writer = struct {
    buffer: []u8,
    length: usize = 0,

    pub inline fn text(self: *Writer, bytes: []const u8) void {
        @memcpy(self.buffer[self.length..][0..bytes.len], bytes);
        self.length += bytes.len;
    }

    pub inline fn number(self: *Writer, value: u64) void {
        self.length += scan.writeDecimal(self.buffer[self.length..], value);
    }

    pub fn statusLine(self: *Writer, status: u16) void {
        if (status == 200) return self.text("HTTP/1.1 200 OK\r\n");
        self.text("HTTP/1.1 ");
        self.number(status);
        self.text(" ");
        self.text(reason(status));
        self.text("\r\n");
    }

    pub fn contentLength(self: *Writer, length: u64) void {
        self.text("Content-Length: ");
        self.number(length);
        self.text("\r\n");
    }

    /// The Connection field where one is needed, and the end of the head.
    pub fn endHead(self: *Writer, closes: bool, says_keep_alive: bool) void {
        if (closes) {
            self.text("Connection: close\r\n\r\n");
        } else if (says_keep_alive) {
            self.text("Connection: keep-alive\r\n\r\n");
        } else self.text("\r\n");
    }
};
