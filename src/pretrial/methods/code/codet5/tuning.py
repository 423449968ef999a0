"""Fine-tuning: text to text, several tasks at once, and classes from the decoder's last state."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrial.data.reading.mixture import Mixture, temperature_weights
from pretrial.errors import UserError
from pretrial.models.architectures.language_model import TextToText
from pretrial.models.architectures.seq2seq import pad_rows
from pretrial.train.checkpoint import whole_folder
from pretrial.train.stage import Batch, Trainable

Texts = str | tuple[str, str]


class PairHead(nn.Module):
    """Classes of a pair from its two vectors, with the names of the release.

    Args:
        width: of a vector.
        num_labels: classes.
    """

    def __init__(self, width: int, num_labels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(2 * width, width)
        self.out_proj = nn.Linear(width, num_labels)

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits [B, C] of vectors [2 B, d], the two of a pair side by side."""
        return self.out_proj(torch.tanh(self.dense(vectors.view(-1, 2 * vectors.shape[-1]))))


class EosClassifier(Trainable):
    """Classes from the decoder's state at the end token (mechanism 8); examples are (texts, class).

    The source is the decoder's text too. The state at the end token has seen all tokens before it,
    and not that token itself.

    Args:
        model: the T5.
        tokenizer: its tokenizer.
        num_labels: classes.
        max_length: tokens of a text; longer ones are cut, and end all the same.
        pairs: the texts of an example are two, whose vectors go through a layer together.
    """

    def __init__(
        self, model: Any, tokenizer: Any, num_labels: int, max_length: int, pairs: bool = False
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.pairs = pairs
        width = int(model.config.d_model)
        self.classifier = PairHead(width, num_labels) if pairs else nn.Linear(width, num_labels)
        if not model.config.tie_word_embeddings:
            model.lm_head.weight.requires_grad_(False)  # a classifier writes nothing

    def batch(self, examples: Sequence[tuple[Texts, int]], generator: torch.Generator) -> Batch:
        texts, classes = zip(*examples, strict=True)
        batch = self._inputs(texts)
        batch["classes"] = torch.tensor(classes)  # [B]
        batch["counts"]["examples"] = float(len(examples))
        return batch

    def _inputs(self, texts: Sequence[Texts]) -> Batch:
        flat = [t for each in texts for t in ((each,) if isinstance(each, str) else each)]
        if len(flat) != (1 + self.pairs) * len(texts):
            raise UserError("a pair of texts is needed to compare, one text to classify")
        rows = self.tokenizer(
            flat, truncation=True, max_length=self.max_length, split_special_tokens=True
        )["input_ids"]
        ends = end_positions(rows, int(self.tokenizer.eos_token_id))
        return {
            "input_ids": pad_rows(rows, int(self.tokenizer.pad_token_id)),
            "attention_mask": pad_rows([[1] * len(row) for row in rows], 0),
            "ends": torch.tensor(ends),
            "counts": {"examples": float(len(texts)), "tokens": 2.0 * sum(map(len, rows))},
        }

    def vectors(self, batch: Batch) -> Tensor:
        """The decoder's last states at the end tokens [B, d]; of pairs [2 B, d]."""
        ids, mask = batch["input_ids"], batch["attention_mask"]
        states = self.model.decoder(
            input_ids=self.model._shift_right(ids),
            attention_mask=mask,
            encoder_hidden_states=self.model.encoder(
                input_ids=ids, attention_mask=mask
            ).last_hidden_state,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state  # [B, T, d]
        return states[torch.arange(len(ids), device=ids.device), batch["ends"]]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.classifier(self.vectors(batch)).float()
        loss = F.cross_entropy(logits, batch["classes"], reduction="sum")
        right = (logits.argmax(-1) == batch["classes"]).float().sum()
        count = batch["counts"]["examples"]
        return {"loss": loss / count, "accuracy": right / count}

    @torch.no_grad()
    def logits(self, texts: Sequence[Texts], batch_size: int = 64) -> Tensor:
        """[N, num_labels], in eval mode; the mode comes back."""
        training, device = self.training, next(self.parameters()).device
        self.eval()
        parts = []
        for start in range(0, len(texts), batch_size):
            batch = self._inputs(texts[start : start + batch_size])
            batch = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in batch.items()}
            parts.append(self.classifier(self.vectors(batch)).float().cpu())
        self.train(training)
        return torch.cat(parts)


def end_positions(rows: Sequence[Sequence[int]], eos: int) -> list[int]:
    """Where the last end token of each row stands.

    Raises:
        UserError: a row has none, or another number of them than the others.
    """
    numbers = {list(row).count(eos) for row in rows}
    if numbers == {0} or len(numbers) > 1:
        raise UserError(
            f"all texts of a batch need one end token, or the same number of them, not"
            f" {sorted(numbers)}: use the tokenizer of a CodeT5 checkpoint"
        )
    return [len(row) - 1 - list(row)[::-1].index(eos) for row in rows]


class Tasks(TextToText):
    """Text to text on several tasks at once, each stopped for itself (mechanism 8).

    A task whose held-out loss has not fallen for `patience` measurements is closed: its places in
    the data go to the open ones. The last open one stays open. The best weights of each are kept
    in a folder of its name.

    Args:
        writer: model, tokenizer and lengths.
        names: of the tasks.
        patience: see above; 0 closes none.

    Attributes:
        best: the lowest held-out loss of each task so far.
        waited: measurements since then.
    """

    best: Tensor
    waited: Tensor

    def __init__(self, writer: TextToText, names: Sequence[str], patience: int) -> None:
        super().__init__(writer.network, writer.tokenizer, writer.max_source, writer.max_target)
        self.names = list(names)
        self.patience = patience
        self.register_buffer("best", torch.full((len(names),), torch.inf))
        self.register_buffer("waited", torch.zeros(len(names), dtype=torch.long))

    def open_tasks(self) -> list[int]:
        """Places of the tasks that are still learnt."""
        waited = self.waited.tolist()
        chosen = [i for i, times in enumerate(waited) if not self.patience or times < self.patience]
        return chosen or [min(range(len(waited)), key=lambda i: waited[i])]

    def see(self, losses: Sequence[float], folder: Path, save: Callable[[Path], None]) -> None:
        """Takes the held-out loss of each task, and keeps the weights of those that fell.

        Args:
            losses: one a task.
            folder: where the best weights are kept.
            save: writes the method into a folder; called in the first process alone.
        """
        still_open = self.open_tasks()
        for place in still_open:
            if math.isinf(losses[place]):  # nothing held out: it is never closed
                continue
            if losses[place] < self.best[place]:
                self.best[place], self.waited[place] = losses[place], 0
                target = folder / (self.names[place].replace("/", "-") or "no prefix")
                shutil.rmtree(target, ignore_errors=True)
                with whole_folder(target) as partial:
                    save(partial)
            else:
                self.waited[place] += 1


class TaskMixture(Mixture):
    """Pairs of several tasks in proportion to size ** alpha; closed tasks give way to open ones."""

    def __init__(self, parts: Sequence[Sequence[Any]], alpha: float, tasks: Tasks) -> None:
        super().__init__(parts, temperature_weights([len(part) for part in parts], alpha))
        self.tasks = tasks

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        part, number = self.where(index)
        still_open = self.tasks.open_tasks()
        if part not in still_open:
            part = still_open[index % len(still_open)]
            number = index % len(self.parts[part])
        return self.parts[part][number]
