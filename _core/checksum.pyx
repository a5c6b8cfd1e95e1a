# cython: language_level=3
"""CRC32C over any buffer, in hardware where the processor has it.

Owns: one function. Never: keeps state. It exists because logs and snapshots check every byte
they write and read, and the standard library has only the other CRC32.

Source: RFC 3720 appendix B.4 (polynomial 0x1EDC6F41, reflected); zlib's calling convention.
"""

from libc.stdint cimport uint32_t

cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #include <string.h>

    static uint32_t nc_crc_table[8][256];

    static void nc_crc_init(void) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t crc = i;
            for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82F63B78u & (0u - (crc & 1)));
            nc_crc_table[0][i] = crc;
        }
        for (uint32_t i = 0; i < 256; i++)
            for (int k = 1; k < 8; k++) {
                uint32_t crc = nc_crc_table[k - 1][i];
                nc_crc_table[k][i] = (crc >> 8) ^ nc_crc_table[0][crc & 0xFF];
            }
    }

    /* Eight bytes a step through eight tables; works on any processor of either byte order. */
    static uint32_t nc_crc_portable(uint32_t crc, const unsigned char *p, size_t n) {
        for (; n >= 8; n -= 8, p += 8) {
            crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
            crc = nc_crc_table[7][crc & 0xFF] ^ nc_crc_table[6][(crc >> 8) & 0xFF]
                ^ nc_crc_table[5][(crc >> 16) & 0xFF] ^ nc_crc_table[4][crc >> 24]
                ^ nc_crc_table[3][p[4]] ^ nc_crc_table[2][p[5]]
                ^ nc_crc_table[1][p[6]] ^ nc_crc_table[0][p[7]];
        }
        for (; n; n--) crc = (crc >> 8) ^ nc_crc_table[0][(crc ^ *p++) & 0xFF];
        return crc;
    }

    #if defined(__x86_64__)
    __attribute__((target("sse4.2")))
    static uint32_t nc_crc_hardware(uint32_t crc, const unsigned char *p, size_t n) {
        uint64_t wide = crc;
        for (; n >= 8; n -= 8, p += 8) {
            uint64_t word;
            memcpy(&word, p, 8);
            wide = __builtin_ia32_crc32di(wide, word);
        }
        crc = (uint32_t)wide;
        for (; n; n--) crc = __builtin_ia32_crc32qi(crc, *p++);
        return crc;
    }
    static int nc_crc_has_hardware(void) { return __builtin_cpu_supports("sse4.2") != 0; }
    #else
    static uint32_t nc_crc_hardware(uint32_t crc, const unsigned char *p, size_t n) {
        return nc_crc_portable(crc, p, n);
    }
    static int nc_crc_has_hardware(void) { return 0; }
    #endif
    """
    void nc_crc_init() noexcept nogil
    uint32_t nc_crc_portable(uint32_t crc, const unsigned char *p, size_t n) noexcept nogil
    uint32_t nc_crc_hardware(uint32_t crc, const unsigned char *p, size_t n) noexcept nogil
    int nc_crc_has_hardware() noexcept nogil

cdef Py_ssize_t _release_bytes = 1 << 16  # above it, letting other threads run is worth its price
nc_crc_init()
cdef bint _has_hardware = nc_crc_has_hardware()


def crc32c(const unsigned char[::1] data not None, uint32_t value=0):
    """The CRC32C of `data`, going on from `value`, the CRC32C of what came before it."""
    cdef Py_ssize_t size = data.shape[0]
    cdef uint32_t crc = ~value
    if size == 0:
        return value
    if size < _release_bytes:
        crc = nc_crc_hardware(crc, &data[0], size) if _has_hardware else nc_crc_portable(crc, &data[0], size)
    else:
        with nogil:
            crc = nc_crc_hardware(crc, &data[0], size) if _has_hardware else nc_crc_portable(crc, &data[0], size)
    return <uint32_t>~crc


def crc32c_portable(const unsigned char[::1] data not None, uint32_t value=0):
    """The same without special instructions; tests hold the two against each other."""
    if data.shape[0] == 0:
        return value
    return <uint32_t>~nc_crc_portable(~value, &data[0], data.shape[0])
