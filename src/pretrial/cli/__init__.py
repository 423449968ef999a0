"""The command line. Each command is imported when it is called, so that none pays for another."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from pretrial import discover, status
from pretrial.checkpoints import guard
from pretrial.cli import config_file, help
from pretrial.errors import UserError, nearest

if TYPE_CHECKING:
    from rich.console import Console

#: Command: what it does, and the function that does it with the rest of the command line.
COMMANDS = {
    "list": ("show all methods", "pretrial.cli.show:list_methods"),
    "info": ("show one method: its idea, data fields, published claims", "pretrial.cli.show:info"),
    "data": ("list the built-in data sets, or show rows of data", "pretrial.cli.data:show_data"),
    "demo": ("run a method's demonstration on data of this machine", "pretrial.cli.show:demo"),
    "clean": ("leave bad documents out of a corpus, and say why", "pretrial.cli.clean:clean"),
    "train": ("train a method on your data", "pretrial.cli.train:train"),
    "finetune": (
        "train a classifier on your labelled data, from any model",
        "pretrial.cli.finetune:finetune",
    ),
    "predict": ("use a trained run on new data", "pretrial.cli.use:predict"),
    "eval": ("measure a trained run on a task", "pretrial.cli.use:evaluate"),
    "export": ("write a trained run as a folder other tools load", "pretrial.cli.export:export"),
    "trial": ("put a method on trial against its baseline", "pretrial.cli.trials:trial"),
    "compare": ("train several methods side by side, and rank them", "pretrial.cli.trials:compare"),
    "advise": ("see whether training helps on your data", "pretrial.cli.advise:advise"),
    "new": ("write a method of your own to begin with", "pretrial.cli.new:new"),
    "check": ("hold a method of your own to the contract", "pretrial.cli.check:check"),
    "audit": ("look whether problems and their tests are fit", "pretrial.cli.audit:audit_command"),
    "serve-rewards": (
        "run programs on their tests for trainers, over HTTP",
        "pretrial.cli.serve_rewards:serve_rewards",
    ),
    "report": ("render the page of a run, or the pages of trials", "pretrial.cli.report:report"),
    "completion": ("complete words in bash, zsh or fish", "pretrial.cli.completion:completion"),
}

#: Commands that take no second to import.
_LIGHT = ("list", "data", "info", "completion")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code is 0, 2 for what the user can mend, or the command's own.

    Args:
        argv: the words after `pretrial`; those of the process by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _quiet_libraries()
    if guard.FLAG in words:
        words.remove(guard.FLAG)
        guard.trust_remote_code()
    try:
        code = _run(words)
        sys.stdout.flush()
    except UserError as error:
        return _say(error, 2)
    except ModuleNotFoundError as error:
        mend = discover.missing(error)
        if mend is None:
            raise
        return _say(mend, 2)
    except KeyboardInterrupt:
        return _say("stopped", 130)
    except BrokenPipeError:  # `pretrial list | head`: nobody reads on, which is no mistake
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def _run(words: list[str]) -> int:
    """Runs one command and gives its exit code."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if words[0] == "--version":
        from pretrial import __version__

        print(__version__)
        return 0
    if words[0] not in COMMANDS:
        raise UserError(
            f"there is no command {words[0]!r}; the nearest: {nearest(words[0], COMMANDS)}"
        )
    words = config_file.expanded(words)
    summary, place = COMMANDS[words[0]]
    if words[1:] in (["--help"], ["-h"]) and (text := help.page(words[0], summary)):
        print(text)
        return 0
    module, function = place.split(":")
    with status.shown(partial(_console, words[0])):
        with nullcontext() if words[0] in _LIGHT else status.task("loading"):
            found = importlib.import_module(module)
        result = getattr(found, function)(words[1:])
    return result if isinstance(result, int) else 0  # what others give is for Python


def _console(command: str) -> Console:
    """Where a command tells of what it is doing.

    What training tells is its output, so a file that takes the one takes the other. The output of
    all other commands is results.
    """
    from rich.console import Console

    return Console(stderr=command != "train")


def _quiet_libraries() -> None:
    """Leaves what is printed to us.

    transformers warns of nothing, since strict loading raises it as an error, and draws no bars of
    its own; a warning is one line that says what is wrong, without the place in our code.
    """
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.formatwarning = lambda message, *_, **__: f"pretrial: {message}\n"


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (text, _) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: pretrial COMMAND [...]",
            "",
            *lines,
            "",
            "pretrial COMMAND --help tells more.",
            f"{config_file.FLAG} FILE, with any command, takes its options from a file.",
            f"{guard.FLAG}, with any command, runs code that comes with a checkpoint.",
        ]
    )


def _say(message: object, code: int) -> int:
    """Prints one line, whatever the message held."""
    print("pretrial:", " ".join(str(message).split()), file=sys.stderr)
    return code
