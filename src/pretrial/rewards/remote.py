"""The reward of a server in another process or on another machine."""

from __future__ import annotations

import http.client
import json
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pretrial.errors import UserError
from pretrial.rewards.completions import text_of
from pretrial.rewards.given_tests import as_json
from pretrial.rewards.items import NAMES
from pretrial.rewards.scoring import or_if_failed
from pretrial.sandbox.tests import Tests

_PAUSE = 0.2  # seconds before the first further try; doubled each time, up to
_LONGEST = 5.0


class RemoteReward:
    """Asks a `pretrial serve-rewards`; in TRL's and verl's signatures, as `CodeReward` is.

    What the server has no place for, it is asked again. Where it cannot be reached for `patience`
    seconds the rewards are None.

    Args:
        url: of the server, such as "http://127.0.0.1:8300".
        patience: seconds that one call waits for a server that is full or away.
        timeout: seconds for the answer to one request.
        most: completions of one request.
        name: by which trainers log it.
        columns: names of columns, where they differ: {"tests": ..., "problem_id": ..., "weights":
            ...}.

    Raises:
        UserError: the URL is none.
    """

    def __init__(
        self,
        url: str,
        *,
        patience: float = 60.0,
        timeout: float = 3600.0,
        most: int = 256,
        name: str = "code_reward",
        columns: Mapping[str, str] | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname:
            raise UserError(f"{url!r} is no URL of a server: give one such as http://HOST:PORT")
        self.__name__ = name
        self.host, self.port = parts.hostname, parts.port or 80
        self.patience, self.timeout, self.most = patience, timeout, most
        self._names = {name: name for name in NAMES} | dict(columns or {})

    def __call__(
        self, completions: Sequence[Any], prompts: Sequence[Any] | None = None, **columns: Any
    ) -> list[float | None]:
        """The rewards of completions; see `CodeReward.__call__`.

        Raises:
            UserError: the server finds fault with what it is given.
        """
        given: dict[str, list[Any]] = {"completions": [text_of(each) for each in completions]}
        if prompts is not None:
            given["prompts"] = [text_of(each) for each in prompts]
        for ours, theirs in self._names.items():
            if columns.get(theirs) is not None:
                given[ours] = [_plain(each) for each in columns[theirs]]
        for name, column in given.items():
            if len(column) != len(completions):
                raise UserError(
                    f"there are {len(completions)} completions but {len(column)} {name}: give one"
                    " for each completion"
                )
        rewards: list[float | None] = []
        for start in range(0, len(completions), self.most):
            part = {name: column[start : start + self.most] for name, column in given.items()}
            rewards += self._ask(part)
        return rewards

    def compute_score(
        self,
        data_source: Any,
        solution_str: str,
        ground_truth: Any,
        extra_info: Any = None,
        score_if_failed: float | None = None,
        **_: Any,
    ) -> float:
        """The reward of one completion; see `CodeReward.compute_score`.

        `ground_truth` holds the tests; a server with problems takes it as the id of one.
        """
        given = _plain(ground_truth)
        columns: dict[str, Any] = {"tests": [given], "problem_id": [given]}
        if isinstance(extra_info, Mapping) and extra_info.get("weights") is not None:
            columns["weights"] = [_plain(extra_info["weights"])]
        [reward] = self._ask({"completions": [solution_str], **columns})
        return or_if_failed(reward, score_if_failed)

    def _ask(self, given: Mapping[str, list[Any]]) -> list[float | None]:
        """One request, again and again until it is answered or patience ends."""
        body = json.dumps(given).encode()
        until, pause = time.monotonic() + self.patience, _PAUSE
        server = f"the server at {self.host}:{self.port}"
        while True:
            try:
                status, answer = self._post(body)
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = f"{server} does not answer: {error}"
            else:
                if status == 200:
                    return list(answer["rewards"])
                reason = f"{server} says: {answer.get('error', status)}"
                if status not in (429, 500, 503):
                    raise UserError(reason)
            if time.monotonic() + pause > until:
                count = len(given["completions"])
                warnings.warn(f"{count} programs have no reward ({reason})", stacklevel=4)
                return [None] * count
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST)

    def _post(self, body: bytes) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            connection.request("POST", "/score", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
            return response.status, json.loads(text) if text else {}
        finally:
            connection.close()


def _plain(value: Any) -> Any:
    """A cell of a column, as JSON can hold it."""
    if isinstance(value, Tests):
        return as_json(value)
    return value.tolist() if hasattr(value, "tolist") else value
