"""The only training loop.

Every step: the micro-batches are made, their counts are summed over the step (over all processes),
each micro-batch's loss is its share of the step's loss, and the optimisers step once.

The position in the stream of data decides all randomness: a micro-batch is made with a generator
seeded by (run seed, stage, position of its first example), and so are torch's global generators
before its losses, for dropout. So neither a resume nor the number of processes changes what is
drawn.

Losses are read from the device only when a row is logged, before an evaluation and before a
checkpoint. A NaN is then found with the step it came in; and since the weights themselves are
looked at before they are written, no checkpoint ever holds one.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from functools import partial

from pretrial import status
from pretrial.errors import UserError
from pretrial.train import checkpoint
from pretrial.train.batches import Batches
from pretrial.train.early import Watch
from pretrial.train.ema import Average
from pretrial.train.gradients import ComputeOptions, Gradients, Precision, check_gradients
from pretrial.train.lora import LoraOptions, adapt, adapt_method
from pretrial.train.method import Method
from pretrial.train.modules import align, freeze
from pretrial.train.optim import Optimizers
from pretrial.train.progress import StageLine, evaluation_line, told
from pretrial.train.run import Run
from pretrial.train.seeds import python_state, seed_everything, seed_of, set_python_state
from pretrial.train.stage import WHOLE, Stage, Trainable
from pretrial.train.stop import Stopped, StopRequest, listening
from pretrial.train.store import Store, first_not_finite
from pretrial.train.window import Window

__all__ = ["Stopped", "train"]


def train(
    method: Method,
    run: Run,
    *,
    autocast: Precision = None,
    compile: bool = False,
    shard: bool = False,
    lora: LoraOptions | None = None,
) -> None:
    """Trains all stages of a method, from where the run's folder stands.

    Args:
        method: what `stages` is asked of; it holds the trained weights afterwards, in eval mode.
        run: the run.
        autocast: "bf16" computes losses in bfloat16 where torch deems it safe.
        compile: compiles the losses with `torch.compile`.
        shard: shards weights, gradients and optimiser states over the processes (FSDP2) instead of
            copying them (DDP) while a stage is open; with one process it changes nothing. Between
            stages and during evaluations every process holds the weights whole.
        lora: trains adapters beside what was read from a checkpoint; see `lora`. They are still
            there afterwards.

    Raises:
        Stopped: by Ctrl-C or SIGTERM; everything needed to go on is on the disk.
        UserError: what the user can mend, such as a NaN or a full disk.
    """
    options = ComputeOptions(autocast, compile, shard)
    if lora is not None:
        adapt_method(method, lora)
    method.to(run.device)
    names = set()
    with listening() as request, run.display():
        for stage in told(method.stages(run)):
            if stage.name in names:
                raise UserError(f"two stages are called {stage.name!r}: rename one")
            names.add(stage.name)
            if lora is not None:  # a stage may train a network that the method had not before
                adapt(stage.module, lora)
            num_steps = _StageLoop(stage, run, options, request).run_whole()
            for more in run.extensions.stages(stage, num_steps):
                _StageLoop(more, run, options, request).run_whole(run.extensions.told(more))


class _StageLoop:
    """One stage being trained."""

    def __init__(
        self, stage: Stage, run: Run, options: ComputeOptions, request: StopRequest
    ) -> None:
        self.stage = stage
        self.run = run
        self.options = options
        self.request = request
        self.module: Trainable = stage.module.to(run.device)
        align(self.module)
        self.store = Store(stage, run)
        self.watch = Watch(stage.early_stop) if stage.early_stop else None
        self.step = 0
        self.evaluated = -1  # the step of the last evaluation
        self.saved = 0.0  # what had been spent at the last checkpoint, in save_every's unit
        self.stop = False

    def run_whole(self, told: str = "") -> int:
        """Says `told` and trains the stage, or loads what it gave when it was finished before.

        Returns the number of its steps.
        """
        run, stage = self.run, self.stage
        done = self.store.folder / "done"
        freeze(self.module)
        if done.exists():
            state = self.store.read(done)
            run.rebook(state["spent"])
            run.journal.pass_to(state["journal"])
            run.world.on_first(partial(checkpoint.prune, self.store.folder, 0))
            self.step = state["step"]
            run.say(f"{stage.name}: finished before, after {self.step} steps")
        else:
            if told:
                run.say(told)
            run.stage = stage.name
            self.request.deferred = True
            try:
                with run.booking() as self.spent:
                    self._train()
                run.callbacks.stage_ended(stage.name, self.module)
            finally:
                run.stage = ""
                self.request.deferred = False
        self.module.eval()
        seed_everything(seed_of(run.seed, stage.name, "after"))
        return self.step

    def _train(self) -> None:
        stage = self.stage
        self.parameters = {n: p for n, p in self.module.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise UserError(f"stage {stage.name!r}: no parameter requires a gradient; unfreeze one")
        self.batches = Batches(stage, self.run)
        self.gradients = Gradients(stage, self.run, self.options)
        # sharding has put other parameters under the same names
        self.parameters = {n: p for n, p in self.module.named_parameters() if p.requires_grad}
        self.optim = Optimizers(self.parameters, stage.optims)
        self.window = Window(self.optim.norm_names, [])
        self.average = Average(self.parameters, stage.ema) if stage.ema is not None else None
        seed_everything(seed_of(self.run.seed, stage.name, "before"))
        self._resume()
        self._set_training()
        self._warn_of_warmup(stage.num_steps)
        self.clock = time.monotonic()
        self.seconds = self.spent.total("seconds")
        self.line = StageLine(stage.name, stage.num_steps, self.optim.rates)
        with self.run.sharded_by(self.gradients.sharding), status.showing(self.line):
            while self._fraction() < WHOLE and not (self.watch and self.watch.over):
                self._one_step()
                self._after_step()
            self._finish()

    def _warn_of_warmup(self, num_steps: int) -> None:
        """Says so where the stage's steps end before a warm-up does."""
        if num_steps and (lost := self.optim.lost_warmup(num_steps)):
            self.run.say(f"{self.stage.name}: {lost}")

    def _set_training(self) -> None:
        self.module.train()
        freeze(self.module)

    # -- one step ---------------------------------------------------------------------------------

    def _one_step(self) -> None:
        batches, counts = self.batches.of_step(self.step)
        self.optim.set_rates(self.step, self._fraction(), self.stage.stride)
        scalars, flops = self.gradients.add(batches)
        if self.step == 0:
            check_gradients(self.stage.name, self.parameters)
        scalars.update(self.optim.step())
        if self.average is not None:
            self.average.update()
        self.module.after_step()
        self.optim.clear()
        self.window.steps.append(scalars)
        self.step += 1
        self._book(counts, flops)

    def _fraction(self) -> float:
        budget = self.stage.budget
        return self.spent.total(budget.unit) / budget.amount

    def _book(self, counts: dict[str, float], flops: int) -> None:
        """Books a step; all processes book the same, with the clock of the first."""
        now = time.monotonic()
        # what was booked meanwhile, by an evaluation or by data that is sampled, is not the step's
        elsewhere = self.spent.total("seconds") - self.seconds
        seconds, self.clock = max(now - self.clock - elsewhere, 0.0), now
        self.stop = self.request.asked
        world = self.run.world
        if world.size > 1:
            total, seconds, asked = world.sum([flops, seconds if world.is_first else 0, self.stop])
            flops, self.stop = int(total), asked > 0
        amounts = {"steps": 1.0, "examples": counts["examples"], "seconds": seconds}
        if "tokens" in counts:
            amounts["tokens"] = counts["tokens"]
        if self.gradients.meter is not None:
            amounts["flops"] = flops
        if self.stage.budget.unit == "epochs":
            amounts["epochs"] = counts["examples"] / len(self.stage.data)
        self.run.book(self.stage.purpose, **amounts)
        self.seconds = self.spent.total("seconds")

    # -- between steps ----------------------------------------------------------------------------

    def _after_step(self) -> None:
        stage, run = self.stage, self.run
        if self.step % run.log_every == 0:
            self._log()
        own = self.spent.by_purpose[stage.purpose]
        latest = self.window.steps if run.world.size == 1 else ()  # else they are shares
        self.line.update(self.step, self._fraction(), own["examples"], own["seconds"], latest)
        if stage.evaluate_every and self.step % stage.evaluate_every == 0:
            self._evaluate()
        spent = self.spent.total(run.save_every.unit) - self.saved
        if self.stop or spent >= run.save_every.amount:
            self._save()
        if self.stop:
            raise Stopped(
                f"stopped at step {self.step} of stage {stage.name!r}, which is saved in"
                f" {run.folder}: run the same command again to go on"
            )

    def _read_window(self) -> None:
        bad = [found for found in self.run.world.gather(self.window.read()) if found]
        if bad:
            steps_back, what = min(bad)
            self._fail(self.step + steps_back, what)

    def _fail(self, step: int, what: str) -> None:
        batch_size = self.stage.batch_size
        first = self.stage.first_example + step * batch_size
        numbers = self.batches.order.take(first, min(5, batch_size))
        raise UserError(
            f"stage {self.stage.name!r}, step {step}: {what}: lower the learning rate, or look at"
            f" the batch (examples number {', '.join(map(str, numbers))}, ...); the last good"
            f" checkpoint is kept in {self.store.folder}"
        )

    def _log(self) -> None:
        """Writes one row: means over the steps since the last one."""
        self._read_window()
        means = self.window.means(self.run.world)
        units = ("examples", "tokens", "flops", "seconds")
        spent = {unit: amount for unit in units if (amount := self.spent.total(unit))}
        self.run.log({**means, **self.optim.rates(), **spent}, self.step)
        self.line.note(means)

    def _evaluate(self) -> None:
        stage, run = self.stage, self.run
        if stage.evaluate is None:
            return
        self._read_window()
        began = time.monotonic()
        self.module.eval()
        with self.average.in_place() if self.average else nullcontext():
            with run.whole(), status.task(f"{stage.name}: evaluating"):
                numbers = run.world.share(stage.evaluate())
            if self.watch is not None:
                self.watch.see(numbers, partial(checkpoint.weights_of, self.module))
        self._set_training()
        self.evaluated = self.step
        run.log({f"eval/{name}": value for name, value in numbers.items()}, self.step)
        run.say(evaluation_line(stage.name, self.step, numbers))
        run.book("evaluate", seconds=run.world.share(time.monotonic() - began))

    # -- on the disk ------------------------------------------------------------------------------

    def _resume(self) -> None:
        """Takes up the newest checkpoint, if there is one."""
        run = self.run
        newest = checkpoint.newest(self.store.folder)
        if newest is None:
            run.journal.go_live()
            if self.watch is not None:
                self.watch.begin(checkpoint.weights_of(self.module))
            return
        state = self.store.read(newest)
        self.optim.load(checkpoint.read_tensors(newest, "optimizer"), state["schedules"])
        self.optim.load_rates(state.get("rates", []))
        if self.average is not None:
            self.average.load(checkpoint.read_tensors(newest, "ema"))
        if self.watch is not None:
            self.watch.load(state["watch"], checkpoint.read_tensors(newest, "best"))
        self.step = state["step"]
        self.evaluated = state["evaluated"]
        self.window.take_over([own["window"] for own in state["own"]], run.world)
        if len(state["own"]) == run.world.size:  # else nobody's generators are another's
            set_python_state(state["own"][run.world.rank]["generators"])
        run.rebook(state["spent"])
        self.saved = self.spent.total(run.save_every.unit)
        run.journal.go_live(state["journal"])
        run.say(f"{self.stage.name}: goes on from step {self.step}")

    def _save(self) -> None:
        self._read_window()
        tensors = {"weights": self._good_weights(), "optimizer": self.optim.tensors()}
        if self.average is not None:
            tensors["ema"] = self.average.state()
        if self.watch is not None:
            tensors["best"] = self.watch.weights
        own = {"window": self.window.steps, "generators": python_state()}
        state = {
            "step": self.step,
            "spent": self.spent.by_purpose,
            "evaluated": self.evaluated,
            "own": self.run.world.gather(own),
            "schedules": [schedule.warm_end for schedule in self.optim.schedules],
            "rates": list(self.optim.rates().values()),
            "watch": self.watch.state() if self.watch else None,
        }
        self.store.write(f"step-{self.step:010d}", tensors, state, keep=2)
        self.saved = self.spent.total(self.run.save_every.unit)

    def _good_weights(self) -> checkpoint.Tensors:
        """The module's weights, of which those that were trained are finite."""
        weights = checkpoint.weights_of(self.module)
        bad = first_not_finite(weights, self.parameters)
        if bad is not None:
            self._fail(self.step - 1, f"parameter {bad} is not finite")
        return weights

    def _finish(self) -> None:
        """The last evaluation, then the weights that the stage gives."""
        if self.window.steps:
            self._log()
        if not self.stage.num_steps:  # known only now
            self._warn_of_warmup(self.step)
        if self.evaluated != self.step:
            self._evaluate()
        if self.average is not None:
            self.average.replace_weights()
        if self.gradients.sharding is not None:
            self.gradients.sharding.end()
        if self.watch is not None:
            checkpoint.load_weights(self.module, self.watch.weights, self.store.folder)
        elsewhere = self.spent.total("seconds") - self.seconds
        rest = max(time.monotonic() - self.clock - elsewhere, 0.0)
        self.run.book(self.stage.purpose, seconds=self.run.world.share(rest))
        state = {"step": self.step, "spent": self.spent.by_purpose}
        self.store.write("done", {"weights": self._good_weights()}, state, keep=0)
