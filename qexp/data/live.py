"""Requests to a live collection, which is only read."""

import logging
import time
from collections.abc import Callable
from typing import Any

from qexp.config import CollectionDataset
from qexp.errors import EngineError, in_one_line

log = logging.getLogger(__name__)


def ask(config: CollectionDataset, call: Callable[[], Any]) -> Any:
    """Call the client; raise EngineError with one line for every way to fail."""
    from pydantic import ValidationError
    from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

    from qexp.engine.wire import reason_in

    where = config.url
    try:
        return _rationed(config, call)
    except UnexpectedResponse as error:
        if error.status_code in (401, 403):
            raise EngineError(
                f"{where}: refused ({error.status_code}); set QDRANT_API_KEY to a key that may read"
            ) from error
        if error.status_code == 404:
            raise EngineError(f"{where}: no collection '{config.collection}' (404); is it the right server?") from error
        raise EngineError(
            f"{where}: the server answered {error.status_code} ({reason_in(error.content.decode(errors='replace'))})"
        ) from error
    except (ResponseHandlingException, ValidationError, ValueError, OSError) as error:
        reason = in_one_line(error)[:200]
        raise EngineError(
            f"{where}: cannot be read: {reason}; start the server or correct the URL; "
            "what was read is kept, and a new run goes on from there"
        ) from error


def _rationed(config: CollectionDataset, call: Callable[[], Any]) -> Any:
    """Call as late as strict mode's `read_rate_limit` wants."""
    from qdrant_client.common.client_exceptions import ResourceExhaustedResponse

    while True:
        try:
            return call()
        except ResourceExhaustedResponse as error:
            log.info("%s: its strict mode allows no more reads for %s s", config.collection, error.retry_after_s)
            time.sleep(error.retry_after_s)
