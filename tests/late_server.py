"""A tracking server whose answers get lost: a proxy that hands a request on, and hangs up."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from benchmarks.servers import HandsOn


@contextmanager
def late_server(uri: str, path: str, times: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a proxy to the server at `uri`, and the paths of the answers that got lost.

    Args:
        path: what stands in the path of requests that are carried out and not answered.
        times: how many of them.
    """
    lost: list[str] = []

    class Proxy(HandsOn):
        target = urlsplit(uri).netloc

        def is_answered(self) -> bool:
            if path in self.path and len(lost) < times:
                lost.append(self.path)
                return False
            return True

    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}", lost
    finally:
        proxy.shutdown()
        proxy.server_close()
