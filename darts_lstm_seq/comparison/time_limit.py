"""A time limit for code that does not know of it: an exception in its thread once time is up.

Source: `PyThreadState_SetAsyncExc` of CPython, which works in any thread and on any system. Code of
other languages ends its call first.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _TimeIsUp(BaseException):
    """Not an `Exception`, which libraries catch when a step of theirs fails."""


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raise `TimeoutError` within a `with` block that takes longer.

    Examples
    --------
    >>> from darts_lstm_seq.comparison.time_limit import time_limit
    >>> try:
    ...     with time_limit(0.01):
    ...         while True:
    ...             pass
    ... except TimeoutError:
    ...     print("time is up")
    time is up
    """
    if seconds is None:
        yield
        return
    thread = ctypes.c_ulong(threading.get_ident())
    lock, is_running = threading.Lock(), True

    def interrupt() -> None:
        with lock:
            if is_running:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_TimeIsUp))

    timer = threading.Timer(max(seconds, 0.0), interrupt)
    timer.daemon = True
    timer.start()
    try:
        try:
            yield
        finally:
            with lock:
                is_running = False
            timer.cancel()
            # it may have been raised, but not have arrived yet
            ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)
    except _TimeIsUp:
        raise TimeoutError("over the time limit") from None
