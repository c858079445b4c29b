"""What the first answer needs, and the page does not: loaded in a thread once the page stands."""

import importlib
import threading
from functools import cache

SLOW = ("deepinv.physics",)  # seconds of the processor, in which it would answer nobody
PAUSE = 1.0  # seconds, in which what the page has just been told is sent


@cache
def begin_later_imports() -> threading.Timer:
    """Begins to load, once in a process, and returns the thread that does."""
    thread = threading.Timer(PAUSE, lambda: [importlib.import_module(name) for name in SLOW])
    thread.daemon = True
    thread.start()
    return thread
