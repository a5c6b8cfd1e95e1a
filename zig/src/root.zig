//! Root of the native library: gathers what leaves it through the C ABI.
//!
//! Owns: the list of exported modules and the panic policy. Never: logic.

pub const panic = @import("panic.zig").panic;
pub const abi_version: u32 = 1;

export fn nc_abi_version() u32 {
    return abi_version;
}
