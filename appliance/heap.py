"""Python's garbage collector, told what it cannot know: what stays, and when freed memory may go back to the system."""

from __future__ import annotations

import ctypes
import gc


def give_back() -> None:
    """Return what the C library keeps for later. What verifies a model frees some 20 MiB that nobody needs soon.

    Nothing happens where the C library is not glibc.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def settle() -> None:
    """What is there by now stays for as long as the process lives, and is not searched for garbage any more.

    All that was imported is 170,000 objects of the API, over which a full collection takes a tenth of a second, in which
    nobody is answered. What is loaded later and replaced is collected as ever.
    """
    gc.collect()
    gc.freeze()
