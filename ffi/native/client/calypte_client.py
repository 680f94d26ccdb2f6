"""Critical work in Python that stays where it is: three lines around it, and Calypte's background leaves the GPU.

    from calypte_client import Client

    client = Client("/run/calypte/detector.sock")
    while True:
        client.expect(exposure_end_ns)                        # optional: background leaves ahead of it
        with client.request(stream=torch.cuda.current_stream().cuda_stream):
            model(frame)

One file over libcalypte_client.so (calypte_client.h says what each call promises): found beside this file, where
CALYPTE_CLIENT_LIBRARY says, or by the loader. Python 3.8 or later, nothing else. No call fails or waits: without an agent
they do nothing.
"""

import contextlib
import ctypes
import os
import time

ALONE, SERVED, BUSY, OTHER_VERSION = range(4)
STATES = ("alone", "served", "busy", "other version")
_NO_STREAM = ctypes.c_void_p(-1)


def _load():
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libcalypte_client.so")
    for path in (os.environ.get("CALYPTE_CLIENT_LIBRARY"), beside, "libcalypte_client.so"):
        if path is None or (os.sep in path and not os.path.exists(path)):
            continue
        library = ctypes.CDLL(path)
        library.calypte_client_open.restype = ctypes.c_void_p
        library.calypte_client_open.argtypes = [ctypes.c_char_p]
        library.calypte_client_close.restype = None
        library.calypte_client_close.argtypes = [ctypes.c_void_p]
        library.calypte_client_state.argtypes = [ctypes.c_void_p]
        library.calypte_expect.restype = None
        library.calypte_expect.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
        library.calypte_begin.restype = ctypes.c_uint64
        library.calypte_begin.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
        library.calypte_end_of.restype = None
        library.calypte_end_of.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p]
        return library
    raise OSError("libcalypte_client.so was not found: set CALYPTE_CLIENT_LIBRARY, or put it beside calypte_client.py")


class Client:
    """Times are nanoseconds of time.monotonic_ns(). One thread at a time."""

    def __init__(self, socket_path):
        """`socket_path`: as the mission's `external` says. Raises OSError for a path longer than 107 bytes."""
        self._library = _load()
        self._client = self._library.calypte_client_open(os.fsencode(socket_path))
        if not self._client:
            raise OSError(f"no client for {socket_path!r}: the path must have at most 107 bytes")

    def close(self):
        if self._client:
            self._library.calypte_client_close(self._client)
            self._client = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def state(self):
        """ALONE, SERVED, BUSY or OTHER_VERSION; STATES has words for them."""
        return self._library.calypte_client_state(self._client)

    def expect(self, time_ns):
        """A request will begin then, at most 10 s ahead."""
        self._library.calypte_expect(self._client, time_ns)

    def begin(self, sensor_ns=0):
        """The GPU is needed from now on. Returns the request's number."""
        return self._library.calypte_begin(self._client, sensor_ns)

    def end(self, number, stream=None):
        """The request is over: now, or once all that was put into `stream` (its address as an int) is done."""
        handle = _NO_STREAM if stream is None else ctypes.c_void_p(stream)
        self._library.calypte_end_of(self._client, number, handle)

    @contextlib.contextmanager
    def request(self, sensor_ns=0, stream=None):
        """Around the work; also ends where that raises."""
        number = self.begin(sensor_ns)
        try:
            yield number
        finally:
            self.end(number, stream)


def wait_until(time_ns):
    """Sleeps until then, and no longer: for programs with a period."""
    while (rest_ns := time_ns - time.monotonic_ns()) > 0:
        # The last millisecond is spent waking up: a sleep ends late.
        time.sleep((rest_ns - 1_000_000) / 1e9 if rest_ns > 2_000_000 else 0)
