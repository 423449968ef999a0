"""The text that a model reads, in one function for every stage, and the repair prompt."""

from __future__ import annotations

import re
from typing import Literal

from pretrial.data.problems.problem import Problem
from pretrial.sandbox import Outcome, Verdict

Layout = Literal["ours", "release-train", "release-generate"]


def prompt(problem: Problem, layout: Layout = "ours") -> str:
    """The prompt of a problem.

    Args:
        problem: with `style="completion"` its statement is the head of a program and is the prompt,
            without white space at its end: many models take a line feed after a docstring for the
            end of the code.
        layout: "ours" is the same text in training and generation. The two release layouts are
            those of salesforce/CodeRL byte for byte: they differ in newlines, and the training one
            chooses the format line by whether there is starter code, the generating one by whether
            the tests name a function.
    """
    if problem.style == "completion":
        return problem.question.rstrip()
    call, stdin = "Use Call-Based format", "Use Standard Input format"
    starter = problem.starter_code
    if layout == "release-train":
        form = call if starter else stdin
        return f"\nQUESTION:\n{problem.question}\n{starter}\n\n{form}\n\nANSWER:\n"
    form = call if problem.tests.function else stdin
    if layout == "release-generate":
        middle = f"\n{starter}" if starter else ""
        return f"\nQUESTION:\n{problem.question}{middle}\n{form}\nANSWER:\n"
    middle = f"{starter.strip()}\n" if starter.strip() else ""
    return f"QUESTION:\n{problem.question.strip()}\n{middle}{form}\nANSWER:\n"


def answer(problem: Problem, solution: str) -> str:
    """What a model has to write after `prompt` for a reference solution."""
    if problem.style == "completion":
        return problem.question[len(problem.question.rstrip()) :] + solution
    return solution


def runnable(problem: Problem, text: str) -> str:
    """The program for what a model wrote after `prompt`."""
    return problem.question.rstrip() + text if problem.style == "completion" else text


def repair_prompt(problem: Problem, program: str, verdict: Verdict, layout: Layout = "ours") -> str:
    """The prompt of the repair model; the paper's own format was never published, this is ours.

    The statement, the failed program, and what the runner said of it: outcome class, kind of error,
    message with its line. A completion is then begun anew from its head.
    """
    outcome = Outcome(verdict.outcome).name.lower().replace("_", " ")
    parts = [outcome, verdict.subtype, verdict.message.strip()[:200]]
    if verdict.line:
        parts.append(f"line {verdict.line}")
    error = ": ".join(part for part in parts if part)
    head = prompt(problem, layout).removesuffix("ANSWER:\n").rstrip("\n")
    begun = prompt(problem) if problem.style == "completion" else ""
    return f"{head}\nBUGGY:\n{program.rstrip()}\nERROR: {error}\nANSWER:\n{begun}"


def reindent_with_tabs(code: str) -> str:
    """Leading spaces turned into tabs, as the released training data has them.

    The width of one level is the smallest indentation in the program.
    """
    widths = [len(m) for m in re.findall(r"^( +)(?=\S)", code, flags=re.MULTILINE)]
    if not widths:
        return code
    unit = min(widths)
    return re.sub(
        r"^( +)(?=\S)",
        lambda m: "\t" * (len(m[1]) // unit) + " " * (len(m[1]) % unit),
        code,
        flags=re.MULTILINE,
    )
