"""Rewards over HTTP: a small server of the standard library, for trainers in other processes.

    POST /score    {"completions": [...], "tests": [...]}  ->  {"rewards": [1.0, null, ...]}
    GET  /health   what it is and how much waits

A request holds a batch, with the columns of `CodeReward.__call__`; with "trace": true the answer
also has "traces". Whatever is wrong with a request is said in {"error": "one sentence"}: 4xx is the
client's to mend, 429 and 503 say that it should come again later.
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pretrial.errors import UserError
from pretrial.rewards.code import CodeReward
from pretrial.sandbox.literals import read_json

_SILENCE = 60.0  # seconds after which a client that sends nothing is left
_LAST = 10.0  # seconds that requests have to end in when the server is closed
_NO_COLUMNS = {"completions", "prompts", "trace", "self"}
_FULL = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n"


class RefusedError(Exception):
    """A request that gets no rewards: a status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class RewardServer(ThreadingHTTPServer):
    """Serves one reward. `serve_forever` serves, `shut` ends it after what is being done.

    Args:
        reward: which is used by all requests.
        host: address to listen at; anybody who reaches it can have programs run in the sandbox.
        port: 0 takes a free one.
        most_waiting: programs of all requests together that have no verdict yet; a request that
            would exceed it is sent away with 429.
        body_mb: largest body of a request, in MiB.
        connections: served at the same time.

    Raises:
        UserError: the address is taken, or is none of this machine.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        reward: CodeReward,
        host: str = "127.0.0.1",
        port: int = 8300,
        *,
        most_waiting: int = 4096,
        body_mb: int = 64,
        connections: int = 256,
    ) -> None:
        if most_waiting < 1 or body_mb < 1 or connections < 1:
            raise UserError("most_waiting, body_mb and connections must be at least 1")
        self.reward, self.most_waiting, self.body_bytes = reward, most_waiting, body_mb << 20
        self.waiting, self.closing = 0, False
        self._lock = threading.Lock()
        self._places = threading.Semaphore(connections)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise UserError(_no_port(host, port, error)) from error

    @property
    def url(self) -> str:
        """Where it listens."""
        host, port = self.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    @contextlib.contextmanager
    def admitted(self, count: int) -> Any:
        """Hold places for so many programs.

        Raises:
            RefusedError: there are not so many.
        """
        with self._lock:
            if self.closing:
                raise RefusedError(503, "the server is being closed")
            if count > self.most_waiting:
                raise RefusedError(
                    413, f"{count} completions, of at most {self.most_waiting}: send fewer at once"
                )
            if self.waiting + count > self.most_waiting:
                raise RefusedError(
                    429, f"{self.waiting} programs wait, of at most {self.most_waiting}: come again"
                )
            self.waiting += count
        try:
            yield
        finally:
            with self._lock:
                self.waiting -= count

    def shut(self) -> None:
        """Take no more requests, give those that run a little time, and free the port."""
        self.closing = True
        until = time.monotonic() + _LAST
        while self.waiting and time.monotonic() < until:
            time.sleep(0.02)
        self.server_close()

    # --- connections ---

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread of its own, if there are not too many."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        with contextlib.suppress(OSError):
            request.settimeout(1.0)
            request.sendall(_FULL)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """See `socketserver.ThreadingMixIn`."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no fault of ours; anything else is a bug, and is shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            traceback.print_exc()


class _Handler(BaseHTTPRequestHandler):
    server: RewardServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "pretrial", ""
    timeout = _SILENCE
    wbufsize = -1  # headers and body go out together

    def do_GET(self) -> None:
        """What the server is, and how much waits."""
        if self.path.split("?")[0] != "/health":
            self._answer(404, {"error": "there is /score for POST and /health for GET"})
            return
        server = self.server
        self._answer(
            503 if server.closing else 200,
            {
                "mode": server.reward.mode,
                "isolation": server.reward.isolation,
                "waiting": server.waiting,
                "most_waiting": server.most_waiting,
            },
        )

    def do_POST(self) -> None:
        """The rewards of a batch."""
        try:
            given = self._read()
            answer = self._score(given)
        except RefusedError as error:
            self._answer(error.status, {"error": str(error)})
        except UserError as error:
            self._answer(400, {"error": str(error)})
        except TimeoutError:
            self._answer(408, {"error": f"nothing came for {_SILENCE:g} s"})
        except OSError:
            raise  # the client has gone
        except Exception:
            traceback.print_exc()
            self._answer(500, {"error": "a bug of the server; its terminal shows where"})
        else:
            self._answer(200, answer)

    def _read(self) -> Mapping[str, Any]:
        """The body; where a request is refused before that is read, the connection ends."""
        self.close_connection = True
        if self.path.split("?")[0] != "/score":
            raise RefusedError(404, "there is /score for POST and /health for GET")
        if self.headers.get_content_type() != "application/json":
            # which a page in a browser cannot send without asking first
            raise RefusedError(415, "the body must be JSON: send Content-Type: application/json")
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            raise RefusedError(411, "the request must say its Content-Length")
        if len(length) > 12 or int(length) > self.server.body_bytes:
            most = self.server.body_bytes >> 20
            raise RefusedError(413, f"the body is larger than {most} MiB: send fewer at once")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise ConnectionResetError("the client left in the middle of its request")
        self.close_connection = self.headers.get("Connection", "").lower() == "close"
        try:
            given = read_json(body.decode())
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, f"the body is not JSON: {error}"[:200]) from error
        if not isinstance(given, dict) or not isinstance(given.get("completions"), list):
            raise RefusedError(400, 'the body must be {"completions": [...], "tests": [...]}')
        return given

    def _score(self, given: Mapping[str, Any]) -> dict[str, Any]:
        completions, prompts, trace = given["completions"], given.get("prompts"), given.get("trace")
        columns = {name: value for name, value in given.items() if name not in _NO_COLUMNS}
        if prompts is not None and not isinstance(prompts, list):
            raise RefusedError(400, "prompts must be a list")
        with self.server.admitted(len(completions)):
            scored = self.server.reward.score(completions, prompts, **columns)
        answer: dict[str, Any] = {"rewards": [each.reward for each in scored]}
        if trace:
            answer["traces"] = [each.to_dict() for each in scored]
        return answer

    def _answer(self, status: int, answer: Mapping[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status in (429, 503):
            self.send_header("Retry-After", "1")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What `http.server` itself refuses, said in our form."""
        self.close_connection = True
        self._answer(code, {"error": message or self.responses.get(code, ("refused",))[0]})

    def log_message(self, *_: Any) -> None:
        """Say nothing of requests that went well."""


def _no_port(host: str, port: int, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"port {port} of {host} is taken: give another one, or 0 for a free one"
    if isinstance(error, OSError) and error.errno == errno.EACCES:
        return f"port {port} is not for users: give one from 1024 on"
    return f"cannot listen at port {port} of {host} ({error}): give an address of this machine"
