"""The tests' own guard."""

from __future__ import annotations

import os
import socket

import pytest
import torch


def test_a_socket_out_of_the_machine_is_refused() -> None:
    with socket.socket() as outside, pytest.raises(RuntimeError, match="offline"):
        outside.connect(("192.0.2.1", 80))


def test_a_socket_inside_the_machine_works() -> None:
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
        assert client.getpeername() == server.getsockname()


def test_one_thread() -> None:
    assert torch.get_num_threads() == 1
    assert os.environ["OMP_NUM_THREADS"] == "1"
