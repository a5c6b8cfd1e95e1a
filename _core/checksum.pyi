"""CRC32C over any buffer, in hardware where the processor has it."""

from typing import TypeAlias

_Buffer: TypeAlias = bytes | bytearray | memoryview

def crc32c(data: _Buffer, value: int = 0) -> int:
    """The CRC32C of `data`, going on from `value`, the CRC32C of what came before it."""

def crc32c_portable(data: _Buffer, value: int = 0) -> int:
    """The same without special instructions; tests hold the two against each other."""
