# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=True
"""The in-memory Raft log: entry bytes in one buffer, positions in one array.

Owns the bytes of entries after the base. Never knows what is committed, durable or sent: that
is `neuro.raft.log`. Each entry is kept the way it travels, so what a peer needs is one slice
of the buffer, handed out without copying:

    term      8 bytes, little-endian
    kind      1 byte, then 3 bytes of zero
    length    4 bytes, little-endian
    data      `length` bytes

Bytes that were handed out never change: before the log truncates or moves a block that
somebody still looks at, it copies what it keeps to a new one.

`neuro.raft.log_store.MemoryLogStore` says the same in plain Python; tests hold them equal.
"""

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from neuro.checks import check
from neuro.raft.types import Entry, EntryKind

cdef Py_ssize_t HEADER = 16
cdef Py_ssize_t BLOCK_BYTES_MIN = 65536
cdef Py_ssize_t SLOT_COUNT_MIN = 256

RECORD_HEADER_BYTES = HEADER
# Entries are at most a few MiB; a longer record would not fit its length field's sanity check.
RECORD_BYTES_MAX = 1 << 30

cdef tuple _kinds = tuple(EntryKind)


cdef struct Slot:
    uint64_t term
    Py_ssize_t offset
    uint32_t length
    uint8_t kind


cdef class _Block:
    """Memory that outlives the log while a view of it is held."""

    cdef uint8_t *data
    cdef Py_ssize_t capacity
    cdef Py_ssize_t view_count

    def __cinit__(self, Py_ssize_t capacity):
        self.data = NULL
        self.view_count = 0
        self.capacity = capacity
        self.data = <uint8_t *> PyMem_Malloc(capacity)
        if self.data is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.data)

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.data, self.capacity, 1, flags)
        self.view_count += 1

    def __releasebuffer__(self, Py_buffer *view):
        self.view_count -= 1


cdef class RaftLogStore:
    """A gap-free run of entries after `base_index`; see `neuro.raft.log_store.LogStore`."""

    cdef _Block block
    cdef Slot *slots
    cdef Py_ssize_t slot_first, slot_count, slot_capacity
    cdef Py_ssize_t head, tail
    cdef int64_t _base_index
    cdef uint64_t _base_term

    def __cinit__(self, entries=(), int64_t base_index=0, uint64_t base_term=0):
        self.slots = NULL
        self.slot_first = self.slot_count = self.slot_capacity = 0
        self.head = self.tail = 0
        self._base_index = base_index
        self._base_term = base_term
        self.block = _Block(BLOCK_BYTES_MIN)

    def __init__(self, entries=(), base_index=0, base_term=0):
        self.append(tuple(entries))

    def __dealloc__(self):
        PyMem_Free(self.slots)

    @property
    def base_index(self):
        """The last index that is compacted away; 0 at first."""
        return self._base_index

    @property
    def last_index(self):
        """The last index held; equals the base when empty."""
        return self._base_index + self.slot_count

    def term_at(self, int64_t index):
        """The term of that position; None below the base or past the end."""
        cdef int64_t offset = index - self._base_index
        if 0 < offset <= self.slot_count:
            return self.slots[self.slot_first + offset - 1].term
        return self._base_term if offset == 0 else None

    def append(self, entries):
        """Adds entries right after the last index."""
        cdef int64_t expected = self._base_index + self.slot_count + 1
        cdef uint64_t term = self._last_term()
        cdef uint64_t entry_term
        cdef bytes data
        for entry in entries:
            entry_term = entry.term
            check(entry.index == expected, "entries follow each other without a gap")
            check(entry_term >= term, "terms never decrease along the log")
            data = entry.data
            self._push(entry_term, entry.kind, <uint8_t *> PyBytes_AS_STRING(data),
                       PyBytes_GET_SIZE(data))
            expected += 1
            term = entry_term

    def append_records(self, const uint8_t[::1] records not None):
        """Adds entries from their records, as `view` gave them; returns how many.

        Raises:
            ValueError: the bytes are not whole records with terms in order; nothing is added.
        """
        cdef Py_ssize_t count = self._count_records(records)
        cdef Py_ssize_t position = 0
        cdef uint64_t term
        cdef uint32_t length
        while position < records.shape[0]:
            memcpy(&term, &records[position], 8)
            memcpy(&length, &records[position + 12], 4)
            self._push(term, records[position + 8],
                       NULL if length == 0 else <uint8_t *> &records[position + HEADER], length)
            position += HEADER + length
        return count

    def truncate_from(self, int64_t index):
        """Drops that index and everything after it."""
        cdef int64_t keep = index - self._base_index - 1
        check(0 <= keep <= self.slot_count, "truncation lies within the log")
        if keep == self.slot_count:
            return
        self.tail = self.slots[self.slot_first + keep].offset
        self.slot_count = keep
        if self.block.view_count:
            self._move(self.block.capacity)

    def compact(self, int64_t index):
        """Drops everything up to and including that index."""
        term = self.term_at(index)
        check(term is not None, "compaction lies within the log")
        cdef Py_ssize_t count = index - self._base_index
        self.slot_first += count
        self.slot_count -= count
        self._base_index = index
        self._base_term = term
        self.head = self.slots[self.slot_first].offset if self.slot_count else self.tail

    def reset(self, int64_t index, uint64_t term):
        """Empties the store and bases it on that position."""
        self.slot_first = self.slot_count = 0
        self._base_index = index
        self._base_term = term
        self.block = _Block(BLOCK_BYTES_MIN)
        self.head = self.tail = 0

    def entries(self, int64_t low, int64_t high, int64_t bytes_max):
        """Entries low..high inclusive, cut to the byte budget, never fewer than one."""
        cdef Py_ssize_t first, stop, position
        cdef list found = []
        cdef Slot *slot
        first, stop = self._cut(low, high, bytes_max)
        for position in range(first, stop):
            slot = &self.slots[position]
            found.append(Entry(
                self._base_index + 1 + position - self.slot_first,
                slot.term,
                _kinds[slot.kind],
                PyBytes_FromStringAndSize(
                    <char *> self.block.data + slot.offset + HEADER, slot.length
                ),
            ))
        return tuple(found)

    def view(self, int64_t low, int64_t high, int64_t bytes_max):
        """The records of entries low..high, cut to the byte budget: (count, memoryview).

        Nothing is copied, and the bytes never change; holding the view keeps them alive.
        """
        cdef Py_ssize_t first, stop
        first, stop = self._cut(low, high, bytes_max)
        if first >= stop:
            return 0, memoryview(b"")
        cdef Py_ssize_t start = self.slots[first].offset
        cdef Py_ssize_t end = self.slots[stop - 1].offset + HEADER + self.slots[stop - 1].length
        return stop - first, memoryview(self.block)[start:end]

    def size_bytes(self, int64_t low, int64_t high):
        """Bytes of entries low..high inclusive, headers counted."""
        check(low > self._base_index and high <= self._base_index + self.slot_count,
              "range lies within the log")
        if low > high:
            return 0
        cdef Slot *first = &self.slots[self.slot_first + low - self._base_index - 1]
        cdef Slot *last = &self.slots[self.slot_first + high - self._base_index - 1]
        return last.offset + HEADER + last.length - first.offset

    def last_with_term_at_most(self, int64_t index, uint64_t term):
        """The largest held position <= index whose term is <= term, else the base."""
        cdef Py_ssize_t low = 0
        cdef Py_ssize_t high = max(0, min(index - self._base_index, self.slot_count))
        cdef Py_ssize_t middle
        while low < high:
            middle = (low + high) // 2
            if self.slots[self.slot_first + middle].term <= term:
                low = middle + 1
            else:
                high = middle
        return self._base_index + low

    cdef uint64_t _last_term(self):
        if self.slot_count == 0:
            return self._base_term
        return self.slots[self.slot_first + self.slot_count - 1].term

    cdef tuple _cut(self, int64_t low, int64_t high, int64_t bytes_max):
        """Slot positions of low..high within the budget, by bisection over offsets."""
        check(low > self._base_index and high <= self._base_index + self.slot_count,
              "slice lies within the log")
        cdef Py_ssize_t first = self.slot_first + low - self._base_index - 1
        cdef Py_ssize_t stop = self.slot_first + high - self._base_index
        cdef Py_ssize_t least, most, middle, limit
        if first >= stop:
            return first, first
        limit = self.slots[first].offset + min(bytes_max, <int64_t> self.block.capacity)
        least = first + 1
        most = stop
        while least < most:
            middle = (least + most + 1) // 2
            if self.slots[middle - 1].offset + HEADER + self.slots[middle - 1].length <= limit:
                least = middle
            else:
                most = middle - 1
        return first, least

    cdef Py_ssize_t _count_records(self, const uint8_t[::1] records) except -1:
        cdef Py_ssize_t position = 0
        cdef Py_ssize_t count = 0
        cdef Py_ssize_t size = records.shape[0]
        cdef uint64_t term, before = self._last_term()
        cdef uint32_t length
        while position < size:
            if size - position < HEADER:
                raise ValueError("a record's header is cut off")
            memcpy(&term, &records[position], 8)
            memcpy(&length, &records[position + 12], 4)
            if <Py_ssize_t> length > size - position - HEADER:
                raise ValueError("a record's data is cut off")
            if term < before:
                raise ValueError("terms never decrease along the log")
            if records[position + 8] >= len(_kinds):
                raise ValueError("unknown entry kind")
            before = term
            position += HEADER + length
            count += 1
        return count

    cdef int _push(self, uint64_t term, uint8_t kind, uint8_t *data, Py_ssize_t size) except -1:
        cdef uint32_t length = <uint32_t> size
        cdef uint8_t *record
        cdef Slot *slot
        if size > RECORD_BYTES_MAX:
            raise ValueError("an entry is too large")
        self._reserve(HEADER + size)
        record = self.block.data + self.tail
        memset(record, 0, HEADER)
        memcpy(record, &term, 8)
        record[8] = kind
        memcpy(record + 12, &length, 4)
        if size:
            memcpy(record + HEADER, data, size)
        slot = &self.slots[self.slot_first + self.slot_count]
        slot.term = term
        slot.kind = kind
        slot.length = length
        slot.offset = self.tail
        self.slot_count += 1
        self.tail += HEADER + size
        return 0

    cdef int _reserve(self, Py_ssize_t size) except -1:
        """Makes room for one more slot and `size` more bytes; amortised constant time."""
        cdef Slot *grown
        cdef Py_ssize_t capacity
        if self.slot_first + self.slot_count == self.slot_capacity:
            if self.slot_first > self.slot_count:
                memmove(self.slots, self.slots + self.slot_first,
                        self.slot_count * sizeof(Slot))
                self.slot_first = 0
            else:
                capacity = max(SLOT_COUNT_MIN, 2 * self.slot_capacity)
                grown = <Slot *> PyMem_Realloc(self.slots, capacity * sizeof(Slot))
                if grown is NULL:
                    raise MemoryError
                self.slots = grown
                self.slot_capacity = capacity
        if self.tail + size > self.block.capacity:
            capacity = BLOCK_BYTES_MIN
            while capacity < 2 * (self.tail - self.head + size):
                capacity *= 2
            self._move(capacity)
        return 0

    cdef int _move(self, Py_ssize_t capacity) except -1:
        """Copies what is held to a new block; views of the old one stay as they are."""
        cdef _Block block = _Block(capacity)
        cdef Py_ssize_t position
        memcpy(block.data, self.block.data + self.head, self.tail - self.head)
        for position in range(self.slot_first, self.slot_first + self.slot_count):
            self.slots[position].offset -= self.head
        self.tail -= self.head
        self.head = 0
        self.block = block
        return 0


def agreed_index(matches):
    """The largest index that a majority of the match indices has reached; 0 for none.

    At most 64 voters, so an insertion sort on the stack beats `sorted`.
    """
    cdef uint64_t held[64]
    cdef uint64_t value
    cdef Py_ssize_t count = 0
    cdef Py_ssize_t position
    for match in matches:
        check(count < 64, "at most 64 voters")
        value = match
        position = count
        while position > 0 and held[position - 1] < value:
            held[position] = held[position - 1]
            position -= 1
        held[position] = value
        count += 1
    return held[count // 2] if count else 0
