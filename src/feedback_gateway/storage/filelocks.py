"""Locks on single bytes of a file, beyond its end too, which the kernel releases when their holder is gone.

Linux locks for the open file, so that the threads and parts of one process are told apart; elsewhere one process
must open the file once only.
"""

import fcntl
import struct

# struct flock: type, whence, start, length, process; the rest is padding.
FLOCK = "hhqqi0q"


def hold(descriptor: int, offset: int) -> None:
    """Lock the byte at `offset` until `descriptor` is closed. Raises OSError where it is held already."""
    if hasattr(fcntl, "F_OFD_SETLK"):
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack(FLOCK, fcntl.F_WRLCK, 0, offset, 1, 0))
    else:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, offset)


def is_held(descriptor: int, offset: int) -> bool:
    """Whether somebody else holds the byte at `offset`."""
    if hasattr(fcntl, "F_OFD_GETLK"):
        asked = struct.pack(FLOCK, fcntl.F_WRLCK, 0, offset, 1, 0)
        found: int = struct.unpack(FLOCK, fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, asked))[0]
        return found != fcntl.F_UNLCK
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, offset)
    except BlockingIOError:
        return True
    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, offset)
    return False
