# The one place where statuses of the native library become exceptions.

from neuro.errors import (
    EngineFull,
    IncompleteBody,
    InvalidArgument,
    NativeError,
    ObjectTooLarge,
    SlabBusy,
    SlabClosed,
    SlabError,
    SlabFull,
    WrongState,
)


cdef object status_error(nc_status status, str operation):
    if status == NC_NO_SPACE:
        return SlabFull(f"{operation}: every byte is pinned or filling")
    if status == NC_TOO_LARGE:
        return ObjectTooLarge(f"{operation}: larger than allowed or promised")
    if status == NC_INVALID:
        return InvalidArgument(f"{operation}: an argument is outside its range")
    if status == NC_BUSY:
        return SlabBusy(f"{operation}: still pinned or in use")
    if status == NC_WRONG_STATE:
        return WrongState(f"{operation}: not possible in this state", operation=operation)
    if status == NC_INCOMPLETE:
        return IncompleteBody(f"{operation}: fewer body bytes than promised")
    if status == NC_NOT_FOUND:
        return WrongState(f"{operation}: the object is gone", operation=operation)
    if status == NC_FULL:
        return EngineFull(f"{operation}: the queue is full")
    if status == NC_NO_MEMORY:
        return MemoryError(f"{operation}: no memory")
    return NativeError(f"{operation}: unknown status {status}")


cdef int check_status(nc_status status, str operation) except -1:
    if status != NC_OK:
        raise status_error(status, operation)
    return 0
