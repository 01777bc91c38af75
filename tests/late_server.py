"""A tracking server whose answers get lost: a proxy that hands a request on, and hangs up."""

import http.client
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

METHODS = ("GET", "POST", "PATCH", "PUT", "DELETE")


@contextmanager
def late_server(uri: str, path: str, times: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a proxy to the server at `uri`, and the paths of the answers that got lost.

    Args:
        path: what stands in the path of requests that are carried out and not answered.
        times: how many of them.
    """
    lost: list[str] = []
    target = urlsplit(uri).netloc

    class Proxy(http.server.BaseHTTPRequestHandler):
        def hand_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server = http.client.HTTPConnection(target, timeout=30)
            headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
            server.request(self.command, self.path, body, headers)
            answer = server.getresponse()
            content = answer.read()
            server.close()
            self.close_connection = True
            if path in self.path and len(lost) < times:
                lost.append(self.path)
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.getheader("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    for method in METHODS:
        setattr(Proxy, f"do_{method}", Proxy.hand_on)
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}", lost
    finally:
        proxy.shutdown()
        proxy.server_close()
