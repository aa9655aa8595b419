"""The API key of a server: it is in the environment alone, and no message repeats it."""

import logging
import os
from functools import cache
from urllib.parse import urlsplit

from qexp.errors import EngineError

log = logging.getLogger(__name__)

API_KEY = "QDRANT_API_KEY"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def api_key(url: str) -> str | None:
    """Return the key to send to a server, None without one; where it travels unencrypted is said.

    Raises EngineError for a key that no header can carry.
    """
    key = os.environ.get(API_KEY, "").strip()  # files and pastes leave ends of lines behind it
    if not (key.isascii() and key.isprintable()):
        raise EngineError(
            f"{API_KEY}: has characters that no key of Qdrant's has, such as typographic quotes; copy it again"
        )
    if key and url.startswith("http://") and urlsplit(url).hostname not in _LOOPBACK:
        _say_unencrypted(url)
    return key or None


@cache
def _say_unencrypted(url: str) -> None:
    """Say it once in this process, however many clients there are."""
    log.warning("%s: %s travels unencrypted; use https://", url, API_KEY)
