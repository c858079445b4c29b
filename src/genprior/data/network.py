"""Whether a server answers, found out within seconds; and silence around libraries that talk."""

import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from http.client import HTTPException
from io import StringIO
from threading import Thread
from urllib import request
from urllib.error import HTTPError

SECONDS = 4.0  # a machine without a network waits this long at most


def answers(url: str) -> bool:
    """Returns whether the server of `url` answers within `SECONDS`, through a proxy if one is set.

    It is asked in a thread of its own, because looking up a host name knows no time limit.
    """
    found: list[bool] = []
    asking = Thread(target=lambda: found.append(_responds(url)), daemon=True)
    asking.start()
    asking.join(SECONDS)
    return found == [True]


@contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """Limits how long a new connection may stay silent."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps prints, progress bars and warnings of other libraries from the user."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _responds(url: str) -> bool:
    try:
        request.urlopen(request.Request(url, method="HEAD"), timeout=SECONDS).close()
    except HTTPError:
        return True  # an unfriendly answer is an answer
    except (OSError, ValueError, HTTPException):
        return False
    return True
