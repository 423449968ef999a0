"""CodeReward: what trainers give, what they get, and what becomes of failures."""

from __future__ import annotations

import asyncio
import os
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError
from pretrial.rewards import CodeReward, NoVerdictError, as_json, judging
from pretrial.rewards.items import Item
from pretrial.sandbox import Limits, Outcome, Runner, Verdict
from pretrial.sandbox.faults import LOST
from pretrial.sandbox.kept import Kept
from pretrial.sandbox.tests import Tests

CALL = Tests("call", "add", ([1, 2], [3, 4], [0, 0]), (3, 7, 0))
ADD = "def add(a, b):\n    return a + b\n"
THREE = "def add(a, b):\n    return 3\n"
SLOW = "import time\ntime.sleep(60)\n"
COMPUTED = "assert add(2, 2) == add(1, 2) + add(0, 1)\n"


@pytest.fixture(scope="module")
def share():
    with CodeReward(mode="share", workers=1) as reward:
        yield reward


def test_modes_and_weights():
    given = {"completions": [ADD, THREE, "no program"], "tests": [CALL] * 3}
    third = pytest.approx(1 / 3)
    with CodeReward(workers=1) as reward:
        assert reward.__name__ == "code_reward"
        assert reward(**given) == [1.0, 0.0, 0.0]
    with CodeReward(mode="weighted", workers=1) as reward:
        weights = [[3, 1, 1]] * 3
        assert reward(**given, weights=weights) == [1.0, 0.6, 0.0]
        info = {"weights": [1, 0, 0]}
        assert reward.compute_score("x", THREE, as_json(CALL), info) == 1.0
    with CodeReward(mode="share", workers=1) as reward:
        assert reward(**given) == [1.0, third, 0.0]


def test_answers_of_a_chat_with_fences(share):
    answer = f"So:\n```python\n{ADD}```\nand done."
    chat = [{"role": "assistant", "content": answer}]
    parts = [{"role": "assistant", "content": [{"type": "text", "text": answer}]}]
    tools = [*chat, {"role": "tool", "content": "x"}]
    completions = [answer, chat, parts, tools, [{"role": "assistant", "content": None}]]
    assert share(completions, tests=[CALL] * 5) == [1.0, 1.0, 1.0, 1.0, 0.0]


def test_other_columns_are_passed_over_and_prompts_may_come(share):
    prompts = [[{"role": "user", "content": "Add."}]]
    more = {"completion_ids": [[1]], "trainer_state": object(), "level": [3]}
    assert share(prompts=prompts, completions=[ADD], tests=[as_json(CALL)], **more) == [1.0]


def test_a_trace_names_every_test(share):
    raising = (
        "def add(a, b):\n    if a == 3:\n        raise KeyError('k')\n    return a + b + (a == 0)"
    )
    [scored] = share.score([raising], tests=[CALL])
    found = [(each.outcome.name, each.subtype, each.line) for each in scored.tests]
    assert found == [
        ("PASSED_TEST", "", None),
        ("RUNTIME_ERROR", "KeyError", 3),
        ("FAILED_TEST", "wrong_answer", None),
    ]
    assert scored.tests[2].message == "test 3: got 1, expected 0"
    assert scored.to_dict()["tests"][1]["message"] == "'k'"
    [scored] = share.score(["```sh\nls\n```"], tests=[CALL])
    assert scored.program is None
    assert [each.subtype for each in scored.tests] == ["no_program"] * 3


def test_without_a_trace_a_program_stops_at_its_first_fault():
    with CodeReward(workers=1) as reward:
        [scored] = reward.score(["def add(a, b):\n    return 7\n"], tests=[CALL])
        assert [each.subtype for each in scored.tests] == ["wrong_answer", "not_run", "not_run"]
    with CodeReward(workers=1, trace=True) as reward:
        [scored] = reward.score(["def add(a, b):\n    return 7\n"], tests=[CALL])
        assert [each.passed for each in scored.tests] == [False, True, False]
        assert scored.reward == 0.0


def test_an_assert_script_that_breaks_after_its_last_test_is_no_pass(share):
    [scored] = share.score([ADD], tests=["assert add(1, 2) == 3\nmissing()"])
    assert scored.reward == 0.0
    assert scored.tests[0].subtype == "NameError"


def test_problems_by_id_and_the_head_of_a_function():
    problems = [
        Problem("a", "Add two numbers.", CALL),
        Problem("h/1", 'def add(a, b):\n    """Add."""\n', CALL, style="completion"),
    ]
    answers = [ADD, "    return a + b\n", f"```python\n{ADD}```", "```\n    return a + b\n```"]
    with CodeReward(problems, workers=1, columns={"problem_id": "task_id"}) as reward:
        assert reward(answers, task_id=["a", "h/1", "h/1", "h/1"]) == [1.0] * 4
        assert reward.compute_score("x", ADD, "a") == 1.0
        assert reward.check(task_id=["a", "h/1"]) == 2
        with pytest.raises(UserError, match="no problem 'h/2' among them; the nearest: h/1"):
            reward([ADD], task_id=["h/2"])
    with CodeReward(continue_prompt=True, workers=1) as reward:
        assert reward(["    return a + b"], ["def add(a, b):\n"], tests=[CALL]) == [1.0]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({}, "no column 'tests'"),
        ({"task": [1]}, "the data has task"),
        ({"tests": [CALL, CALL]}, "1 completions but 2 tests"),
        ({"tests": as_json(CALL)}, "tests must be a list"),
        ({"tests": [CALL], "prompts": ["a", "b"]}, "1 completions but 2 prompts"),
        ({"tests": [Tests("call", "add")]}, "completion 0: there are no tests"),
        ({"tests": [""]}, "completion 0: there are no tests"),
        ({"tests": ["{"]}, "not JSON"),
        ({"tests": ["good"]}, "neither JSON nor asserts"),
        ({"tests": [{"inputs": [1], "outputs": []}]}, "1 inputs but 0 outputs"),
        ({"tests": [7]}, "tests cannot be a int"),
        ({"tests": [COMPUTED]}, "allow_shared"),
        ({"tests": [CALL], "completions": [None]}, "a completion is a text"),
    ],
)
def test_mistakes_get_one_sentence(columns, words, share):
    with pytest.raises(UserError, match=words) as caught:
        share(**{"completions": [ADD], **columns})
    assert "\n" not in str(caught.value)


def test_mistakes_in_weights_and_settings():
    with CodeReward(mode="weighted", workers=1) as reward:
        for weights, words in (([[1, 2]], "2 weights for 3"), ([[-1, 1, 1]], "not negative")):
            with pytest.raises(UserError, match=words):
                reward([ADD], tests=[CALL], weights=weights)
        with pytest.raises(UserError, match="no weights"):
            reward([ADD], tests=[CALL])
    for options in ({"mode": "some"}, {"fence": "x"}, {"deadline": 0}, {"columns": {"y": "z"}}):
        with pytest.raises(UserError):
            CodeReward(workers=1, **options)


def test_shared_tests_are_refused_unless_allowed(share):
    with pytest.raises(UserError, match="write them as `assert f"):
        share.check(tests=[as_json(CALL), COMPUTED])
    with CodeReward(workers=1, allow_shared=True) as reward:
        assert reward([ADD, THREE], tests=[COMPUTED] * 2) == [1.0, 0.0]


def test_a_deadline_is_kept_and_what_was_judged_is_not_lost():
    with CodeReward(workers=1, deadline=1.0, limits=Limits(seconds=30.0)) as reward:
        start = time.monotonic()
        with pytest.warns(UserWarning, match="None, not 0"):
            rewards = reward([ADD, SLOW, "```sh\n```"], tests=[CALL] * 3)
        assert time.monotonic() - start < 8
        assert rewards[1:] == [None, 0.0]
        assert rewards[0] in (1.0, None)  # it may have come behind the slow one
        with pytest.warns(match="1 programs"), pytest.raises(NoVerdictError, match="score_if"):
            reward.compute_score("x", SLOW, as_json(CALL))
        with pytest.warns(UserWarning, match="no verdict within"):
            assert reward.compute_score("x", SLOW, as_json(CALL), score_if_failed=-1.0) == -1.0
        assert reward([ADD], tests=[CALL]) == [1.0]


def test_without_a_deadline_a_slow_program_is_a_zero():
    with CodeReward(workers=1, limits=Limits(seconds=0.3)) as reward:
        assert reward([SLOW, "while True:\n    pass\n", ADD], tests=[CALL] * 3) == [0, 0, 1]
        assert reward.compute_score("x", SLOW, as_json(CALL)) == 0.0


def lost():
    return Verdict(Outcome.RUNTIME_ERROR, "signal", f"{LOST}: broken pipe", tests=(False,))


def scripted(monkeypatch, steps):
    """The runner does one step a call: "raise", "lose" all, "lose the program", or "run"."""
    real, calls = Runner.judged, []

    def judged(self, jobs, *arguments, **options):
        step = steps[min(len(calls), len(steps) - 1)]
        calls.append(len(jobs))
        if step == "raise":
            raise OSError("no process could be started")
        for place, verdict in real(self, jobs, *arguments, **options):
            honest = jobs[place][0].startswith("#")
            gone = step == "lose" or (step == "lose the program" and not honest)
            yield place, lost() if gone else verdict

    monkeypatch.setattr(Runner, "judged", judged)
    return calls


@pytest.mark.parametrize(
    ("steps", "reward", "jobs"),
    [
        (["raise", "raise", "run"], 1.0, [1, 1, 1]),
        (["lose", "run"], 1.0, [1, 2]),  # the second time beside an honest program
        (["lose", "raise", "run"], 1.0, [1, 2, 2]),
        (["raise"], None, [1] * 6),
        (["lose"], None, [1, 2]),
        (["lose the program"], 0.0, [1, 2]),
    ],
)
@pytest.mark.filterwarnings("ignore:.*None, not 0")
def test_a_failure_of_the_sandbox_is_tried_again_and_never_a_zero(
    steps, reward, jobs, share, monkeypatch
):
    monkeypatch.setattr(judging, "_PAUSE", 0.001)
    calls = scripted(monkeypatch, steps)
    [scored] = share.score([ADD], tests=[CALL])
    assert scored.reward == reward
    assert calls == jobs
    assert (scored.reason == "") is (reward is not None)


def test_workers_that_are_killed_from_outside_cost_no_reward(share):
    programs = [f"def add(a, b):\n    return a + b + 0 * {n}\n" for n in range(60)]
    killed = []

    def kill(reward):
        [worker] = reward._runner._workers
        time.sleep(0.05)
        for _ in range(3):
            if (process := worker._process) is not None:
                process.kill()
                killed.append(process.pid)
            time.sleep(0.5)

    with CodeReward(mode="share", workers=1) as reward, ThreadPoolExecutor(1) as threads:
        killing = threads.submit(kill, reward)
        while not killing.done():
            programs = [f"{program}# again" for program in programs]
            reward._runner._kept = Kept()  # nothing is known of them
            assert reward(programs, tests=[CALL] * 60) == [1.0] * 60
        killing.result()
    assert killed


def test_the_event_loop_goes_on(share):
    ticks = []

    async def tick():
        while True:
            ticks.append(None)
            await asyncio.sleep(0.01)

    async def main():
        ticking = asyncio.create_task(tick())
        nap = f"import time\ntime.sleep(0.4)\n{ADD}"
        one, two = await asyncio.gather(
            share.asynchronous(completions=[nap], tests=[CALL]),
            share.score_async([THREE], tests=[CALL]),
        )
        ticking.cancel()
        return one, two[0].reward

    assert asyncio.run(main()) == ([1.0], pytest.approx(1 / 3))
    assert len(ticks) > 10


def test_verl_asks_from_many_threads_at_once(share):
    def ask(number):
        good = number % 2
        program = f"def add(a, b):\n    return a + b + {0 if good else number}\n"
        given = {"data_source": "x", "solution_str": program, "ground_truth": as_json(CALL)}
        return share.compute_score(**given, extra_info={"index": number}, unknown=1)

    with ThreadPoolExecutor(32) as threads:
        scores = list(threads.map(ask, range(1, 97)))
    assert scores == [float(number % 2) for number in range(1, 97)]
    with pytest.raises(UserError, match="there are no tests"):
        share.compute_score("x", ADD, "")


def test_a_fault_of_the_batch_comes_to_each_thread_that_waits(share, monkeypatch):
    def broken(self, items, seconds):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(CodeReward, "_scored", broken)
    with CodeReward(workers=1) as reward, pytest.raises(ZeroDivisionError):
        reward.compute_score("x", ADD, as_json(CALL))


def test_copies_and_forks_have_workers_of_their_own(share):
    assert share.compute_score("x", ADD, as_json(CALL)) == 1.0  # its threads run
    with pickle.loads(pickle.dumps(share)) as copy:
        assert copy.mode == "share"
        assert copy([ADD], tests=[CALL]) == [1.0]
    if (child := os.fork()) == 0:
        try:
            good = share([ADD], tests=[CALL]) == [1.0]
            good = good and share.compute_score("x", ADD, as_json(CALL)) == 1.0
            share.close()
            os._exit(0 if good else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert share([THREE], tests=[CALL]) == [pytest.approx(1 / 3)]


def test_what_trl_logs(share):
    seen = SimpleNamespace(metrics={}, extra={})
    columns = {"log_metric": seen.metrics.__setitem__, "log_extra": seen.extra.__setitem__}
    share([ADD, THREE], tests=[CALL] * 2, **columns)
    assert seen.metrics == {"code_reward/passed": 0.5, "code_reward/no_verdict": 0.0}
    assert seen.extra == {"code_reward/outcome": ["PASSED_TEST", "FAILED_TEST"]}


@pytest.mark.filterwarnings("ignore:.*None, not 0")
def test_closing_ends_the_threads_and_what_waits():
    reward = CodeReward(workers=1, limits=Limits(seconds=30.0))
    reward.compute_score("x", ADD, as_json(CALL))
    batches = reward._batches()
    mine = batches._threads
    with ThreadPoolExecutor(5) as threads:
        given = (SLOW, as_json(CALL), None, -1.0)
        asked = [threads.submit(reward.compute_score, "x", *given) for _ in range(5)]
        time.sleep(0.5)  # the first ones run, others wait
        reward.close()
        assert [each.result(timeout=20) for each in asked] == [-1.0] * 5
    for thread in mine:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in mine)
    assert reward._runner is None
    assert batches.result(Item(ADD, CALL, None), None).reason == "the reward was closed"
