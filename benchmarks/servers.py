"""A tracking server, and something before it that answers late, never, or leaves."""

import http.client
import http.server
import socket
import threading
import time
import urllib.request
from urllib.parse import urlsplit

from benchmarks.children import Site
from benchmarks.trace import BenchmarkError

PATIENCE_S = 90.0


def serve(site: Site) -> str:
    """Start an MLflow server, a child of this process, and return its address once it answers.

    Raises:
        BenchmarkError: when it does not come up.
    """
    port = _free_port()
    arguments = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    arguments += ["--backend-store-uri", f"sqlite:///{site.folder}/served.db"]
    arguments += ["--artifacts-destination", str(site.folder / "served")]
    started = site.start(*arguments, module="mlflow")
    uri, end_s = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE_S
    while not _answers(uri):
        if time.monotonic() > end_s or started.process.poll() is not None:
            raise BenchmarkError(f"No MLflow server came up:\n{started.log.read_text()[-3000:]}")
        time.sleep(0.1)
    return uri


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that have given up waiting."""


class Proxy:
    """Hands requests on to the server at `uri`, until it is told what shall go wrong."""

    def __init__(self, uri: str) -> None:
        self._delay_s = 0.0
        self._is_well = threading.Event()
        self._server: _Server | None = None
        self._handler = _handler(uri, self)
        self._port = 0
        self.recover()
        self.uri = f"http://127.0.0.1:{self._port}"

    def wait(self) -> None:
        self._is_well.wait(self._delay_s)

    def recover(self) -> None:
        """Hand requests on again, at once."""
        self._is_well.set()
        if self._server is None:
            self._server = _Server(("127.0.0.1", self._port), self._handler)
            self._port = self._server.server_address[1]
            threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def be_late(self, delay_s: float) -> None:
        """Hand each request on after so many seconds."""
        self._delay_s = delay_s
        self._is_well.clear()

    def leave(self) -> None:
        """Let nobody listen any more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._server = None


class HandsOn(http.server.BaseHTTPRequestHandler):
    """Hands each request on to the server at `target`, host and port, and its answer back."""

    target: str

    def before(self) -> None:
        """Called before a request is handed on."""

    def is_answered(self) -> bool:
        """Whether the answer to the request goes back; the connection is closed otherwise."""
        return True

    def hand_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.before()
        server = http.client.HTTPConnection(self.target, timeout=60)
        headers = {key: value for key, value in self.headers.items() if key.lower() != "host"}
        server.request(self.command, self.path, body, headers)
        answer = server.getresponse()
        content = answer.read()
        server.close()
        self.close_connection = True
        if self.is_answered():
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.getheader("Content-Type", "application/json"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = hand_on

    def log_message(self, *_: object) -> None:
        pass


def _handler(uri: str, proxy: Proxy) -> type[HandsOn]:
    class Handler(HandsOn):
        target = urlsplit(uri).netloc

        def before(self) -> None:
            proxy.wait()

    return Handler


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=1):
            return True
    except OSError:
        return False
