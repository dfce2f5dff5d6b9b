"""Serves files that are in memory to browsers on this machine, and to nobody else.

What a page on the web could try is refused: to reach this server by a name of its own that leads here (DNS rebinding;
the header Host tells), to embed it, to read its files, or to have it ask elsewhere.
"""

import errno
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from trm_jax.errors import ConfigError
from trm_jax.viewing.page import File

ADDRESS = "127.0.0.1"
# Seconds that a connection may stay silent.
_PATIENCE = 30
_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
    "style-src 'self'; img-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class Server(ThreadingHTTPServer):
    """Files by their paths; index.html is also the page of the empty path. `serve_forever` serves, `shutdown` ends."""

    daemon_threads = True

    def __init__(self, files: Mapping[str, File], port: int) -> None:
        """port: 0 for any that is free. Raises ConfigError where it cannot be had."""
        self.files = {"/": files["index.html"]} | {f"/{path}": file for path, file in files.items()}
        try:
            super().__init__((ADDRESS, port), _Handler)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            why = "is in use" if error.errno == errno.EADDRINUSE else "is not for all users"
            raise ConfigError(f"port {port} {why}: name another by --port, or 0 for any that is free") from error
        names = ADDRESS, "localhost"
        self.hosts = {f"{name}:{self.server_port}" for name in names} | (
            set(names) if self.server_port == 80 else set()
        )

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = _PATIENCE
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "trm", ""

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def _answer(self, body: bool) -> None:
        if [host.strip().lower() for host in self.headers.get_all("Host", [])] not in [[h] for h in self.server.hosts]:
            self.send_error(421, "Misdirected Request", "This server is for 127.0.0.1 and localhost alone.")
            return
        file = self.server.files.get(unquote(urlsplit(self.path).path))
        if file is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", file.type)
        self.send_header("Content-Length", str(len(file.data)))
        self.end_headers()
        if body:
            self.wfile.write(file.data)

    def end_headers(self) -> None:
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: whoever looks at a page does not read along."""
