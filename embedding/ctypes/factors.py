"""The smallest factors of numbers, found in worker processes."""

import ctypes
import os
import sys

_library = ctypes.CDLL(os.environ["FACTORS_LIBRARY"])  # a package has it beside this file
_library.factors_start.argtypes = [ctypes.c_char_p] * 3
_library.factors_start.restype = ctypes.c_bool
_library.factors_smallest.argtypes = [ctypes.c_uint64]
_library.factors_smallest.restype = ctypes.c_uint64
_library.factors_error.restype = ctypes.c_char_p


def _check(result):
    if not result:
        raise RuntimeError(_library.factors_error().decode())
    return result


def start():
    """Starts the pool: a worker is this interpreter with this module, as below."""
    words = sys.executable, __file__, "worker"
    _check(_library.factors_start(*map(os.fsencode, words)))


def smallest(n):
    """Other threads go on meanwhile, as `ctypes` gives the interpreter's lock back."""
    return _check(_library.factors_smallest(n))


def stop():
    _library.factors_stop()


if __name__ == "__main__" and sys.argv[1:2] == ["worker"]:
    _library.factors_worker_main()
