"""A run: one folder, its data, budget and seed, and what a method may ask of it."""

from __future__ import annotations

import copy
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from rich.console import Console

from pretrial import status
from pretrial.errors import UserError
from pretrial.train import checkpoint, distributed, log
from pretrial.train.budget import Budget, Spent
from pretrial.train.callbacks import Callbacks
from pretrial.train.claim import claim, release
from pretrial.train.extension import Extensions
from pretrial.train.seeds import seed_everything, seed_of

if TYPE_CHECKING:
    from pretrial.train.sharding import Sharding

_BOOK = ".book.json"
_FIVE_MINUTES = Budget(300, "seconds")


class Run:
    """One training run in one folder.

    Attributes:
        folder: holds metrics.jsonl, stages/<name>/ (checkpoints, then done/) and artefacts/<name>/.
        limit: the budget that the run was given, or None; see `budget`.
        seed: with a name, it seeds every random choice.
        device: where modules are trained.
        world: the processes.
        spent: everything that was spent, in all processes.
        save_every: how much a stage may spend between two checkpoints.
        log_every: steps between two rows of metrics.
        measure_flops: count FLOPs also where no budget is in FLOPs.
        stage: name of the open stage, "" between stages.
        extensions: what it is trained further for, behind its end.
        callbacks: what a caller is told.
    """

    def __init__(
        self,
        folder: str | Path,
        data: Sequence[Any] = (),
        held_out: Sequence[Any] = (),
        budget: Budget | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        quiet: bool = False,
        trackers: Sequence[str] = (),
        save_every: Budget = _FIVE_MINUTES,
        log_every: int = 10,
        measure_flops: bool = False,
        callbacks: Callbacks | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._data = data
        self._held_out = held_out
        self.limit = budget
        self.seed = seed
        self.world = distributed.join()
        self.device = self._device(device)
        self.spent = Spent()
        self.save_every = save_every
        self.log_every = log_every
        self.measure_flops = measure_flops
        self.stage = ""
        self.extensions = Extensions("", ())
        self._books = [self.spent]
        self._sharding: Sharding | None = None
        self.console = Console(quiet=quiet or not self.world.is_first)
        self.world.on_first(lambda: claim(self.folder))
        self.journal = log.Journal(self.folder / log.METRICS, self._known_rows())
        self.callbacks = callbacks if callbacks and self.world.is_first else Callbacks()
        self._trackers = log.make_trackers(trackers, self.folder) if self.world.is_first else []
        self._trackers.append(self.callbacks)

    def _device(self, device: str | torch.device) -> torch.device:
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        device = torch.device(device)
        if device.type == "cuda" and device.index is None:
            if not torch.cuda.is_available():
                raise UserError("this machine has no GPU that torch can use: give device='cpu'")
            return torch.device("cuda", self.world.local_rank)
        return device

    @property
    def data(self) -> Sequence[Any]:
        """Examples to train on."""
        return self._data

    @property
    def held_out(self) -> Sequence[Any]:
        """Examples that are not trained on."""
        return self._held_out

    def over(self, data: Sequence[Any], held_out: Sequence[Any] = ()) -> Self:
        """This run with other examples: the same folder, log, budget and seed."""
        other = copy.copy(self)
        other._data, other._held_out = data, held_out
        return other

    def _known_rows(self) -> int:
        names = f"stages/*/[!.]*/{checkpoint.STATE}", f"artefacts/[!.]*/{_BOOK}"
        states = [path for name in names for path in self.folder.glob(name)]
        known = [checkpoint.read_object(path, "journal")["journal"] for path in states]
        return max(known, default=0)

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl."""
        return log.read_rows(self.journal.path)

    def close(self) -> None:
        """Lets go of the folder: its log is closed, and other processes may claim it."""
        self.journal.close()
        release(self.folder)

    @property
    def budget(self) -> Budget:
        """How much may be spent on training.

        Raises:
            UserError: the run was given none.
        """
        if self.limit is None:
            raise UserError("this run has no budget: give one, such as 10m, 300steps or 2e6tokens")
        return self.limit

    def stage_folder(self, name: str) -> Path:
        """The folder of a stage."""
        return self.folder / "stages" / _checked(name)

    def generator(self, name: str) -> torch.Generator:
        """A generator that depends on the run's seed and `name` only."""
        return torch.Generator().manual_seed(seed_of(self.seed, name))

    def say(self, text: str) -> None:
        """Prints a line, in the first process and unless quiet."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def display(self) -> AbstractContextManager[None]:
        """Tells of what is being done inside, unless quiet or told by the command already."""
        return nullcontext() if self.console.quiet else status.shown(lambda: self.console)

    def log(self, numbers: Mapping[str, Any], step: int | None = None) -> None:
        """Writes a row of metrics.jsonl, and to the trackers."""
        if not self.world.is_first:
            return
        row: dict[str, Any] = {"stage": self.stage} if self.stage else {}
        if step is not None:
            row |= {"step": step}
        values = log.plain(numbers)
        if step is None:
            status.note(values)
        if self.journal.write(row | values):
            known = {name: value for name, value in values.items() if value is not None}
            for tracker in self._trackers:
                tracker.log(known, self.stage or "run", step or 0)

    def book(self, purpose: str, **amounts: float) -> None:
        """Books work that was done; every process must book the same amounts, outside `once`."""
        for spent in self._books:
            spent.add(purpose, **amounts)

    @contextmanager
    def sharded_by(self, sharding: Sharding | None) -> Iterator[None]:
        """Inside the block `whole` puts the shards aside; for the loop, around a stage's steps."""
        self._sharding = sharding
        try:
            yield
        finally:
            self._sharding = None

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Inside the block every process has the weights of the open stage's module whole.

        For sampling and the like while a stage is open; evaluations and what is done between stages
        need not ask. All processes must enter together, and weights must not be changed inside.
        """
        sharding, self._sharding = self._sharding, None
        try:
            with sharding.aside() if sharding is not None else nullcontext():
                yield
        finally:
            self._sharding = sharding

    @contextmanager
    def booking(self) -> Iterator[Spent]:
        """Yields a Spent of its own, of all that is booked inside the block."""
        spent = Spent()
        self._books.append(spent)
        try:
            yield spent
        finally:
            self._books = [book for book in self._books if book is not spent]

    @contextmanager
    def apart(self) -> Iterator[Spent]:
        """As `booking`, but what is booked inside counts nowhere else until it is rebooked."""
        books, self._books = self._books, []
        try:
            with self.booking() as spent:
                yield spent
        finally:
            self._books = books

    def rebook(self, by_purpose: Mapping[str, Mapping[str, float]]) -> None:
        """Books what an earlier process spent."""
        for purpose, amounts in by_purpose.items():
            self.book(purpose, **amounts)

    def once(self, name: str, make: Callable[[Path], None], purpose: str | None = None) -> Path:
        """An artefact, made the first time and found on the disk later.

        The first process makes it, the others wait. What `make` leaves in its folder appears under
        the artefact's name all at once, or not at all. The global generators are seeded by the
        run's seed and `name` before `make`, and again after it, made or found.

        Args:
            name: unique in the run.
            make: writes its files into the folder it is given.
            purpose: what its seconds are booked under, beyond those that `make` books itself;
                by default `name`.

        Returns:
            The artefact's folder.
        """
        folder = self.folder / "artefacts" / _checked(name)
        self.world.on_first(lambda: self._make(folder, make, purpose or name))
        return self._found(folder)

    def once_in_pieces(
        self, name: str, num_pieces: int, make: Callable[[int, Path], None], purpose: str = ""
    ) -> Path:
        """As `once`, in pieces that the processes share out.

        What a piece holds does not depend on which process makes it: the global generators are
        seeded by the run's seed, `name` and the piece.

        Args:
            name: unique in the run.
            num_pieces: the more, the better they can be shared out.
            make: makes one piece and leaves files of its own in the folder it is given; it must not
                wait for other processes.
            purpose: as in `once`.
        """
        folder = self.folder / "artefacts" / _checked(name)

        if not self.world.share((folder / _BOOK).exists()):
            self.journal.go_live()
            self.make_together(folder, num_pieces, make, self._write_book, purpose or name)
        return self._found(folder)

    def make_together(
        self,
        folder: Path,
        num_pieces: int,
        make: Callable[[int, Path], None],
        seal: Callable[[Path, Spent], None],
        purpose: str,
    ) -> None:
        """Makes a folder that is whole or not there, in pieces; see `once_in_pieces`.

        Args:
            seal: called in the first process at the end, with the folder and what was spent in all
                processes, by the clock of the first; none of it is booked.
        """
        world, began = self.world, time.monotonic()
        with self.apart() as spent, ExitStack() as stack:
            partial = checkpoint.partial_name(folder)

            def begin() -> None:
                stack.enter_context(checkpoint.whole_folder(folder))

            def work() -> None:
                for piece in status.each(world.own(num_pieces), f"making {folder.name}"):
                    seed_everything(seed_of(self.seed, folder.name, piece))
                    make(piece, partial)

            def finish() -> None:
                rest = time.monotonic() - began - total.total("seconds")
                total.add(purpose, seconds=max(rest, 0.0))
                seal(partial, total)
                stack.close()

            world.on_first(begin)
            world.in_all(work)
            total = _together(world.gather(spent.by_purpose))
            world.on_first(finish)

    def _found(self, folder: Path) -> Path:
        """Goes on after an artefact that is there now."""
        book = checkpoint.read_object(folder / _BOOK, "seed", "spent", "journal")
        if book["seed"] != self.seed:
            raise UserError(
                f"the artefact {folder.name!r} in {self.folder} was made with seed {book['seed']},"
                f" not {self.seed}: give another run folder"
            )
        self.rebook(book["spent"])
        self.journal.pass_to(book["journal"])
        seed_everything(seed_of(self.seed, folder.name, "after"))
        return folder

    def _make(self, folder: Path, make: Callable[[Path], None], purpose: str) -> None:
        if (folder / _BOOK).exists():
            return
        self.journal.go_live()
        began = time.monotonic()
        with self.apart() as spent, checkpoint.whole_folder(folder) as partial:
            seed_everything(seed_of(self.seed, folder.name))
            with status.task(f"making {folder.name}"):
                make(partial)
            rest = time.monotonic() - began - spent.total("seconds")
            spent.add(purpose, seconds=max(rest, 0.0))
            self._write_book(partial, spent)

    def _write_book(self, folder: Path, spent: Spent) -> None:
        book = {"seed": self.seed, "spent": spent.by_purpose, "journal": self.journal.sync()}
        (folder / _BOOK).write_text(json.dumps(book, indent=1))


def _together(parts: Sequence[dict[str, dict[str, float]]]) -> Spent:
    """What all processes spent, with the seconds of the first, as they worked side by side."""
    total = Spent()
    for rank, part in enumerate(parts):
        for purpose, amounts in part.items():
            own = {u: a for u, a in amounts.items() if rank == 0 or u != "seconds"}
            total.add(purpose, **own)
    return total


def _checked(name: str) -> str:
    if not re.fullmatch(r"\w[\w.\-]*", name):
        raise UserError(f"{name!r} names a folder: use letters, digits, '.', '_' and '-' only")
    return name
