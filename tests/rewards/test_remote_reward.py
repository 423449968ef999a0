"""The client of the server of rewards."""

from __future__ import annotations

import pickle
import socket
import threading
import time

import pytest

from pretrial.errors import UserError
from pretrial.rewards import CodeReward, NoVerdictError, RemoteReward
from pretrial.rewards.server import RewardServer
from pretrial.sandbox.tests import Tests

ADD = "def add(a, b):\n    return a + b\n"
CALL = Tests("call", "add", ([1, 2], [3, 4]), (3, 7))


@pytest.fixture(scope="module")
def server():
    with CodeReward(mode="share", workers=1) as reward:
        server = RewardServer(reward, port=0, most_waiting=4)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        server.shut()


@pytest.fixture
def remote(server):
    return RemoteReward(server.url, most=3, columns={"tests": "ground_truth"})


def test_rewards_in_several_requests(remote):
    chat = [{"role": "assistant", "content": f"```python\n{ADD}```"}]
    given = [ADD, "add = max", chat, "def add(a, b):\n    return 3\n", "x"]
    tests = [CALL, CALL.to_row(), "assert add(1, 2) == 3", CALL, CALL]
    more = {"prompts": ["p"] * 5, "ground_truth": tests, "level": [1] * 5}
    assert remote(given, **more) == [1.0, 0.0, 1.0, 0.5, 0.0]
    assert pickle.loads(pickle.dumps(remote))([ADD], ground_truth=[CALL]) == [1.0]
    assert remote.__name__ == "code_reward"
    assert remote([]) == []


def test_one_score(remote):
    assert remote.compute_score("x", ADD, CALL) == 1.0
    assert remote.compute_score("x", "add = max", "assert add(1, 2) == 3", {"index": 1}) == 0.0


def test_what_is_wrong_is_said(remote):
    with pytest.raises(UserError, match="1 completions but 2 tests"):
        remote([ADD], ground_truth=[CALL, CALL])
    with pytest.raises(UserError, match="the data has no column 'tests'"):
        remote([ADD])
    with pytest.raises(UserError, match="no URL of a server"):
        RemoteReward("localhost:8300")


def test_a_full_server_is_asked_again(server, remote):
    with server.admitted(3):
        found = []
        asking = threading.Thread(
            target=lambda: found.extend(remote([ADD] * 2, ground_truth=[CALL] * 2))
        )
        asking.start()
        time.sleep(0.3)
        assert not found
    asking.join(timeout=20)
    assert found == [1.0, 1.0]


def test_a_server_that_is_away_gives_none():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    away = RemoteReward(f"http://127.0.0.1:{port}", patience=0.3)
    with pytest.warns(UserWarning, match="does not answer"):
        assert away([ADD] * 2, tests=[CALL] * 2) == [None, None]
    with pytest.warns(UserWarning, match="no reward"), pytest.raises(NoVerdictError):
        away.compute_score("x", ADD, CALL)
    with pytest.warns(UserWarning, match="no reward"):
        assert away.compute_score("x", ADD, CALL, score_if_failed=0.5) == 0.5
