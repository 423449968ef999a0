"""Rewards over HTTP: batches, refusals in one sentence, and clients that go away."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from pretrial.cli import main
from pretrial.errors import UserError
from pretrial.rewards import CodeReward
from pretrial.rewards.server import RewardServer
from pretrial.sandbox import Limits

ADD = "def add(a, b):\n    return a + b\n"
TESTS = "assert add(1, 2) == 3\nassert add(3, 4) == 7"
NAP = f"import time\ntime.sleep(1.5)\n{ADD}"
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def reward():
    with CodeReward(mode="share", workers=1, limits=Limits(seconds=10.0)) as reward:
        yield reward


@contextlib.contextmanager
def served(reward, **options):
    server = RewardServer(reward, port=0, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.shut()


@pytest.fixture(scope="module")
def server(reward):
    with served(reward, most_waiting=8, body_mb=1, connections=6) as server:
        yield server


def ask(server, method="POST", path="/score", body="", headers=JSON):
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=30)
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    try:
        connection.request(method, path, text, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers
    finally:
        connection.close()


def batch(*programs, **more):
    return {"completions": [*programs], "tests": [TESTS] * len(programs), **more}


def test_a_batch_and_its_traces(server):
    status, answer, _ = ask(server, body=batch(f"```python\n{ADD}```", "add = max", "x", self=1))
    assert (status, answer) == (200, {"rewards": [1.0, 0.0, 0.0]})
    status, answer, _ = ask(server, body=batch("def add(a, b):\n    return 3", trace=True))
    assert [each["kind"] for each in answer["traces"][0]["tests"]] == ["", "wrong_answer"]
    status, answer, _ = ask(server, body={"completions": [], "tests": []})
    assert (status, answer) == (200, {"rewards": []})
    status, answer, _ = ask(server, "GET", "/health")
    assert (status, answer["mode"], answer["waiting"]) == (200, "share", 0)


def test_one_connection_serves_many_requests(server):
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=30)
    for program, value in ((ADD, 1.0), ("{", 0.0), (ADD, 1.0)):
        connection.request("POST", "/score", json.dumps(batch(program)), JSON)
        assert json.loads(connection.getresponse().read()) == {"rewards": [value]}
    connection.close()


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        ({"body": "{"}, 400, "not JSON"),
        ({"body": b"\xff"}, 400, "not JSON"),
        ({"body": "[" * 100_000}, 400, "not JSON"),
        ({"body": []}, 400, "the body must be"),
        ({"body": {"completions": 3}}, 400, "the body must be"),
        ({"body": {"completions": ["x"]}}, 400, "no column 'tests'"),
        ({"body": {"completions": ["x"], "tests": []}}, 400, "1 completions but 0 tests"),
        ({"body": {"completions": [1], "tests": [TESTS]}}, 400, "a completion is a text"),
        ({"body": batch("x", prompts="x")}, 400, "prompts must be a list"),
        ({"body": {"completions": ["x"], "tests": ["for n in f():\n    assert n"]}}, 400, "allow"),
        ({"body": batch(*["x"] * 9)}, 413, "send fewer"),
        ({"body": " " * (1 << 21)}, 413, "larger than 1 MiB"),
        ({"body": batch("x"), "headers": {}}, 415, "Content-Type"),
        ({"body": batch("x"), "headers": {**JSON, "Content-Length": "x"}}, 411, "Content-Length"),
        ({"path": "/other"}, 404, "/score"),
        ({"method": "GET", "path": "/score"}, 404, "/health"),
        ({"method": "PUT"}, 501, "PUT"),
    ],
)
def test_a_request_that_is_wrong_gets_one_sentence(request_, status, words, server):
    # a body that is refused by its size is not read: the client may notice while it still sends
    try:
        found, answer, _ = ask(server, **request_)
    except OSError:
        assert status == 413
        return
    assert found == status
    assert words in answer["error"]
    assert "\n" not in answer["error"]


def test_no_http_at_all(server):
    with socket.create_connection(server.server_address[:2], timeout=10) as client:
        client.sendall(b"hello\r\n\r\n")
        assert b'"error"' in client.recv(4096)


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_full_queue_and_a_client_that_goes_away(server):
    until(lambda: server.waiting == 0)
    body = json.dumps(batch(*[NAP] * 7)).encode()
    head = b"POST /score HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(server.server_address[:2], timeout=10) as client:
        client.sendall(head % len(body) + body)
        until(lambda: server.waiting == 7)
        status, answer, headers = ask(server, body=batch(ADD, ADD))
        assert (status, headers["Retry-After"]) == (429, "1")
        assert "7 programs wait" in answer["error"]
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset it
    until(lambda: server.waiting == 0)
    assert ask(server, body=batch(ADD))[:2] == (200, {"rewards": [1.0]})
    # one that leaves in the middle of its request
    with socket.create_connection(server.server_address[:2], timeout=10) as client:
        client.sendall(head % len(body) + body[:9])
    assert ask(server, body=batch(ADD))[0] == 200


def test_too_many_connections(server):
    address = server.server_address[:2]
    idle = [socket.create_connection(address, timeout=10) for _ in range(6)]
    until(lambda: server._places._value == 0)
    with socket.create_connection(address, timeout=10) as late:
        assert late.recv(4096).startswith(b"HTTP/1.1 503")
    for each in idle:
        each.close()
    until(lambda: server._places._value == 6)
    assert ask(server, body=batch(ADD))[0] == 200


@pytest.mark.filterwarnings("ignore:.*None, not 0")
def test_no_verdict_is_null_and_a_bug_is_told(reward, monkeypatch, capsys):
    with served(reward) as server:
        monkeypatch.setattr(reward, "deadline", 0.3)
        assert ask(server, body=batch(NAP.replace("1.5", "9")))[:2] == (200, {"rewards": [None]})
        monkeypatch.setattr(CodeReward, "score", lambda *_, **__: 1 / 0)
        assert ask(server, body=batch(ADD))[0] == 500
        server.closing = True
        assert ask(server, body=batch(ADD))[0] == 503
        assert ask(server, "GET", "/health")[0] == 503
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_addresses_that_cannot_be_had(server, reward, capsys):
    port = server.server_address[1]
    with pytest.raises(UserError, match=f"port {port} of 127.0.0.1 is taken"):
        RewardServer(reward, port=port)
    for host, other in (("127.0.0.1", 70_000), ("192.0.2.1", 0)):
        with pytest.raises(UserError, match="give an address"):
            RewardServer(reward, host, other)
    assert main(["serve-rewards", "--port", str(port), "--workers", "1"]) == 2
    assert "is taken" in capsys.readouterr().err


def test_the_command_serves_until_it_is_ended():
    words = ["serve-rewards", "--port", "0", "--workers", "1", "--mode", "share"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pretrial", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        line = process.stdout.readline()
        host, port = line.split("http://")[1].split("/")[0].split(":")

        class At:
            server_address = (host, int(port))

        assert ask(At, body=batch(ADD))[:2] == (200, {"rewards": [1.0]})
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.stdout.close()
