"""The server gives known files to this machine, with headers that let nothing in from elsewhere."""

import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from trm_jax.errors import ConfigError
from trm_jax.viewing.page import File
from trm_jax.viewing.server import Server

FILES = {"index.html": File(b"<p>page", "text/html; charset=utf-8"), "core/a.js": File(b"a", "text/javascript")}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(FILES, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: Server, path: str, method: str = "GET", host: str | None = None) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host or f"127.0.0.1:{server.server_port}")
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def test_known_files_are_given_and_no_others(server: Server) -> None:
    assert server.url == f"http://127.0.0.1:{server.server_port}/"
    assert server.socket.getsockname()[0] == "127.0.0.1"
    status, body, headers = ask(server, "/")
    assert (status, body, headers["Content-Type"]) == (200, b"<p>page", "text/html; charset=utf-8")
    assert ask(server, "/index.html?x=1")[:2] == (200, b"<p>page")
    assert ask(server, "/core/a.js")[:2] == (200, b"a")
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as raw:
        raw.sendall(f"HEAD / HTTP/1.0\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: raw.recv(4096), b""))
        assert b" 200 " in answer.splitlines()[0]
        assert answer.endswith(b"\r\n\r\n")
    for path in (
        "/core",
        "/core/",
        "/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/a.js",
        "/core/../index.html",
    ):
        assert ask(server, path)[0] == 404, path
    assert ask(server, "/", "POST")[0] == 501


def test_headers_let_nothing_foreign_in(server: Server) -> None:
    for path in ("/", "/none"):
        headers = ask(server, path)[2]
        policy = headers["Content-Security-Policy"].split("; ")
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert not any(word in headers["Content-Security-Policy"] for word in ("*", "http", "data:", "'unsafe"))
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Python" not in headers["Server"]
        assert "Access-Control-Allow-Origin" not in headers


def test_another_name_for_this_machine_is_refused(server: Server) -> None:
    port = server.server_port
    assert ask(server, "/", host=f"localhost:{port}")[0] == 200
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1",
        f"127.0.0.1:{port + 1}",
        f"127.0.0.1:{port}.evil.example",
    ):
        status, body, _ = ask(server, "/", host=host)
        assert status == 421, host
        assert b"page" not in body
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        host = f"Host: 127.0.0.1:{port}\r\n"
        raw.sendall(f"GET / HTTP/1.1\r\n{host}Host: evil.example\r\nConnection: close\r\n\r\n".encode())
        assert b" 421 " in raw.recv(100)


def test_a_port_in_use_is_told(server: Server) -> None:
    with pytest.raises(ConfigError, match=f"port {server.server_port} is in use: name another by --port"):
        Server(FILES, server.server_port)
