"""The models that CodeRL is made of: from scratch, from checkpoints, from each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from pretrial.bases.language_model import LanguageMethod, TextToTextMethod
from pretrial.checkpoints.keys import read_weights
from pretrial.checkpoints.pretrained import load_generator
from pretrial.checkpoints.t5 import save_network
from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError
from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.data.prompt import prompt
from pretrial.methods.code.coderl.network.critic import HEAD, Critic
from pretrial.methods.code.coderl.network.model import ProgramModel, shallower
from pretrial.models.architectures.seq2seq import new_t5
from pretrial.models.tokenizers import SPECIALS, special_ids
from pretrial.sandbox import APPS_PREAMBLE, AnyRunner, Limits, runner_on

_NUM_SENTINELS = 20
_NUM_CLASSES = {"critic": 4, "checker": 2}


class Parts(LanguageMethod):
    """An actor, two critics and a repair model, and the runner of what they write.

    Attributes:
        actor: writes programs; what `export` gives back.
        critic: predicts the four outcomes; None before it is trained.
        checker: predicts passing, for critic sampling; None before it is trained.
        repairer: rewrites failed programs; None before it is trained.
    """

    specials = SPECIALS
    Config: ClassVar[type] = Config

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config, network, tokenizer)
        self.critic: Critic | None = None
        self.checker: Critic | None = None
        self.repairer: ProgramModel | None = None

    @property
    def actor(self) -> ProgramModel:
        """The language model."""
        return self.language_model

    def new_language_model(self, network: Any, tokenizer: Any) -> ProgramModel:
        """Learns pairs of prompt and program."""
        return ProgramModel(network, tokenizer, self.config)

    # Where they come from

    @classmethod
    def vocabulary(cls, config: Any, data: Sequence[Problem], **more: Any) -> Any:
        """A tokenizer learned from the prompts and solutions; without problems it is bytes."""
        texts = [prompt(problem, config.layout) for problem in data]
        texts += [solution for problem in data for solution in problem.solutions]
        own = {"num_sentinels": _NUM_SENTINELS if config.pretrain_data else 0}
        return super().vocabulary(config, texts, **(own | more))

    @classmethod
    def new_network(cls, config: Any, vocab_size: int) -> Any:
        """An untrained T5 or GPT-2; it has room for the whole vocabulary of the settings."""
        pad, end = (special_ids(cls.specials)[f"{name}_token_id"] for name in ("pad", "eos"))
        if config.architecture == "t5":
            sizes = TextToTextMethod.sizes(config)
            return new_t5(config.vocab_size, **sizes, pad_id=pad, eos_id=end)
        longest = config.max_source + config.max_target
        ids = {"pad_token_id": pad, "bos_token_id": end, "eos_token_id": end}
        return GPT2LMHeadModel(config.network_config(GPT2Config, n_positions=longest, **ids))

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, Any, Any]:
        """The actor of a folder of ours, or any causal or sequence-to-sequence checkpoint."""
        own = Path(source) / "actor"
        return super().load(config, own if own.is_dir() else source)

    def adopt(self, source: str | Path) -> None:
        """Takes over critics and repair model of a folder of ours."""
        for name, num_classes in _NUM_CLASSES.items():
            if (Path(source) / name).is_dir():
                setattr(self, name, load_critic(Path(source) / name, self.actor, num_classes))
        if (Path(source) / "repairer").is_dir():
            self.repairer = self.actor.around(load_generator(Path(source) / "repairer")[0])

    def save(self, folder: Path) -> None:
        """Writes actor, critics and repair model, each a transformers folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("actor", "repairer"):
            part = getattr(self, name)
            if part is not None:
                save_network(part.network, folder / name)
                part.tokenizer.save_pretrained(folder / name)
        for name in _NUM_CLASSES:
            part = getattr(self, name)
            if part is not None:
                part.save(folder / name)

    def begin_critic(self, name: str, seed: int) -> Critic:
        """The critic, or the binary critic (`checker`); made where there is none yet."""
        if getattr(self, name) is None:
            setattr(self, name, new_critic(self.config, self.actor, _NUM_CLASSES[name], seed))
        critic: Critic = getattr(self, name)
        return critic

    def begin_repairer(self) -> ProgramModel:
        """The repair model; made where there is none yet."""
        if self.repairer is None:
            self.repairer = new_repairer(self.config, self.actor)
        return self.repairer

    # What they write, and what runs it

    @property
    def max_written(self) -> int:
        """As many tokens as a program has."""
        return int(self.config.max_target)

    def prompts(self, examples: Sequence[Any], max_new_tokens: int) -> list[list[int]]:
        """Tokens of the prompts of problems; of a text, as it is."""
        actor = self.actor
        return [
            actor.prompt_ids(each) if isinstance(each, str) else actor.problem_ids(each)
            for each in examples
        ]

    def runner(
        self, processes: int = 1, isolation: str | None = None, packages: Sequence[str] = ()
    ) -> AnyRunner:
        """A program runner, where and isolated as the config says, for one of so many processes.

        Args:
            processes: of this machine that each have one.
            isolation: another level than the config's.
            packages: further ones that programs may import.
        """
        c = self.config
        return runner_on(
            c.execute_on,
            processes=processes,
            isolation=isolation or c.isolation,
            preamble=APPS_PREAMBLE if c.apps_preamble else "",
            packages=(*c.allow_packages, *packages),
        )

    @property
    def limits(self) -> Limits:
        """What a program may use."""
        return Limits(seconds=self.config.seconds)


def _beside(source: str | Path, actor: ProgramModel) -> ProgramModel:
    """A model around a checkpoint that reads and writes the actor's tokens."""
    network, _ = load_generator(source, tokenizer=actor.tokenizer, beside=HEAD)
    if network.config.vocab_size < len(actor.tokenizer):
        raise UserError(
            f"the critics and the repair model share the actor's {len(actor.tokenizer)} tokens, but"
            f" {source} knows {network.config.vocab_size}; name a checkpoint of the same family"
        )
    return actor.around(network)


def load_critic(source: str | Path, actor: ProgramModel, num_classes: int) -> Critic:
    """A critic around a checkpoint, with the head that lies in its weights, if one does.

    Released and saved critics have one. The tokenizer is the actor's, whose tokens a critic reads.

    Raises:
        UserError: the checkpoint's vocabulary is smaller than the actor's.
    """
    critic = Critic(_beside(source, actor), num_classes)
    weights = read_weights(source) if Path(source).is_dir() else {}
    last = weights.get(f"{HEAD}2.weight")
    if last is not None and len(last) == num_classes:
        critic.load_head(weights)
    return critic


def new_critic(config: Config, actor: ProgramModel, num_classes: int, seed: int) -> Critic:
    """An untrained critic: from `critic_init`, or from the lower half of the actor.

    Its fresh weights depend on `seed` alone, so that a run that goes on builds the same critic.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if config.critic_init:
            return load_critic(config.critic_init, actor, num_classes)
        return Critic(shallower(actor), num_classes)


def new_repairer(config: Config, actor: ProgramModel) -> ProgramModel:
    """An untrained repair model: from `repair_init`, or a copy of the actor."""
    return _beside(config.repair_init, actor) if config.repair_init else actor.copy()
