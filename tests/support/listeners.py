"""Things that listen on a port and are no PostgreSQL server."""

import http.server
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import psycopg2


@contextmanager
def listener(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept connections on a free port and let `answer` deal with each, in a thread of its own."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    sock, _ = server.accept()
                except OSError:
                    return
                held.append(sock)
                threading.Thread(target=_dare, args=(answer, sock), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            for sock in held:
                sock.close()


def _dare(answer: Callable[[socket.socket], None], sock: socket.socket) -> None:
    try:
        answer(sock)
    except OSError:
        return


def silence(sock: socket.socket) -> None:
    """Accept, read, never answer."""
    while sock.recv(1024):
        pass


def hang_up(sock: socket.socket) -> None:
    sock.recv(1024)
    sock.close()


def says(data: bytes) -> Callable[[socket.socket], None]:
    """Answer whatever comes with `data`, then wait."""

    def answer(sock: socket.socket) -> None:
        sock.recv(1024)
        sock.sendall(data)
        silence(sock)

    return answer


def ssh(sock: socket.socket) -> None:
    """SSH speaks first, and begins with the letter that means "TLS, please" in PostgreSQL."""
    sock.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    silence(sock)


@contextmanager
def web_server() -> Iterator[int]:
    """A web server that waits for a whole line before it answers."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def forward_from(source: str, port: int) -> Callable[[socket.socket], None]:
    """Translate addresses as Docker's bridge does: pass the connection on to `port`, coming from `source`."""

    def answer(sock: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port), source_address=(source, 0)) as server:
            back = threading.Thread(target=_dare, args=(lambda _: _pump(server, sock), sock), daemon=True)
            back.start()
            _pump(sock, server)
            back.join()

    return answer


def _pump(one: socket.socket, other: socket.socket) -> None:
    while data := one.recv(65536):
        other.sendall(data)
    other.shutdown(socket.SHUT_WR)


@cache
def loses_odd_words() -> bool:
    """Whether psycopg2 here drops a refusal of the server's that is no UTF-8, as with Debian 12's Python 3.11.2."""
    body = b"SFATAL\0VFATAL\0C28P01\0Mf\xfcr niemand\0\0"
    with listener(says(b"E" + struct.pack("!I", len(body) + 4) + body)) as port:
        try:
            psycopg2.connect(host="127.0.0.1", port=port, user="x", sslmode="disable", gssencmode="disable")
        except (psycopg2.Error, UnicodeDecodeError) as error:
            return not str(error)
    return False
