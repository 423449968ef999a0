"""Which token stands here? A task that models of texts answer as they are, each in its own way.

One token of a text is hidden, and the right one is to be told from seven others, which are drawn by
how often tokens occur. A masked language model compares what it predicts there; a discriminator
is shown the text with each of them in turn, and says how original it looks (so Xia and others 2022
prompt ELECTRA); an encoder-decoder writes the text from the one with the mask, as far as that
place. Neither kind has to be trained further, and it is what models fill in, correct and
classify with where no labels are at hand.

Scores of unlike models have unlike scales, and some count in how common a token is. So two weights,
of the score and of the logarithm of a token's share, are fitted for each model on other texts.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BartForConditionalGeneration, ElectraForPreTraining

from pretrial.compare.trial import Items
from pretrial.corrupt.masks import chosen_of, mask_windows
from pretrial.data.windows.cutting import TokenWindows
from pretrial.models.architectures.seq2seq import collate, shifted
from pretrial.train.device import to_device
from pretrial.train.stage import Batch

_NUM_OTHERS = 7
_LEAST_CHARACTERS = 40  # of a text, so that something stands around the place
_AT_ONCE = 128


class Choices(NamedTuple):
    """Texts in which a token is to be chosen.

    Attributes:
        windows: token ids without special tokens.
        candidates: of each the right token, then the others [N, 8].
        shares: logarithms of how often each occurs [N, 8].
        groups: of each text.
    """

    windows: list[list[int]]
    candidates: Tensor
    shares: Tensor
    groups: list[Hashable]


def one_hidden(windows: Sequence[list[int]], tokenizer: Any) -> Batch:
    """A batch in which one token of each window is hidden, the same one whoever asks."""
    return mask_windows(windows, tokenizer, torch.Generator().manual_seed(0), ratio=1e-9)


def choices_of(
    texts: Sequence[str], tokenizer: Any, max_length: int, groups: Sequence[Hashable] = ()
) -> Choices:
    """A choice in the first window of every text that is long enough.

    Args:
        texts: to choose in.
        tokenizer: of the model.
        max_length: tokens of a window, the two special ones included.
        groups: of each text, such as its module; by default every text is one of its own.
    """
    named = zip(texts, groups or range(len(texts)), strict=True)
    long = [(text, group) for text, group in named if len(text) >= _LEAST_CHARACTERS]
    windows = [TokenWindows([text], tokenizer, max_length - 2)[0] for text, _ in long]
    counts = np.bincount(np.concatenate(windows), minlength=len(tokenizer)) + 1e-9
    counts[tokenizer.all_special_ids] = 0.0
    right = chosen_of((batch := one_hidden(windows, tokenizer))["labels"], batch).numpy()
    rng = np.random.default_rng(0)
    candidates = np.stack([[each, *_others(rng, counts, each)] for each in right])
    shares = np.log(counts / counts.sum(), where=counts > 0, out=np.zeros_like(counts))
    return Choices(
        windows,
        torch.from_numpy(candidates),
        torch.from_numpy(shares[candidates]),
        [group for _, group in long],
    )


def _others(rng: np.random.Generator, counts: NDArray[Any], right: int) -> NDArray[np.int64]:
    """Tokens drawn by their counts, each but once and none the right one."""
    weights = counts.copy()
    weights[right] = 0.0
    return rng.choice(len(counts), _NUM_OTHERS, replace=False, p=weights / weights.sum())


def measure(
    method: Any,
    halves: Sequence[Sequence[str]],
    max_length: int,
    groups: Sequence[Hashable] = (),
) -> dict[str, Items]:
    """How well a model chooses.

    Args:
        method: in eval mode: a masked language model, ELECTRA, an encoder-decoder of E2S2, or
            `floors.TokenCounts`.
        halves: texts to fit the two weights on, and texts to test on.
        max_length: tokens of a window, the two special ones included.
        groups: of the texts to test on.

    Returns:
        "choice_nll", the negative log-likelihood of the right token in nats, and "choice_accuracy".
    """
    learn, test = (
        choices_of(texts, method.tokenizer, max_length, own)
        for texts, own in zip(halves, ((), groups), strict=True)
    )
    weights = _fitted(scores(method, learn), learn.shares)
    log_probs = _log_probs(weights, scores(method, test), test.shares)
    return {
        "choice_nll": Items((-log_probs[:, 0]).tolist(), test.groups),
        "choice_accuracy": Items((log_probs.argmax(1) == 0).double().tolist(), test.groups),
    }


def _log_probs(weights: Tensor, found: Tensor, shares: Tensor) -> Tensor:
    """Logarithms of the probabilities of the candidates [N, 8]."""
    return (weights[0] * found + weights[1] * shares).log_softmax(1)


def _fitted(found: Tensor, shares: Tensor) -> Tensor:
    """The weights [2] of scores and shares [N, 8] with the least loss; the right ones are first."""
    weights = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = -_log_probs(weights, found, shares)[:, 0].mean()
        value.backward()
        return value

    with torch.enable_grad():
        optimiser.step(loss)
    return weights.detach()


@torch.no_grad()
def scores(method: Any, choices: Choices) -> Tensor:
    """How well each candidate fits [N, 8]; scales differ from model to model."""
    network = getattr(method, "network", None)
    ask = _named
    if isinstance(network, ElectraForPreTraining):
        ask = _detected
    elif isinstance(network, BartForConditionalGeneration):
        ask = _written
    hidden = one_hidden(choices.windows, method.tokenizer)["loss_mask"]
    found = []
    for start in range(0, len(choices.windows), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        places = (hidden[rows].int().argmax(1) - 1).tolist()  # behind a special token
        found.append(ask(method, choices.windows[rows], places, choices.candidates[rows]))
    return torch.cat(found).double().cpu()


def _device(method: Any) -> torch.device:
    return method.network.device if hasattr(method, "network") else torch.device("cpu")


def _named(
    method: Any, windows: Sequence[list[int]], places: Sequence[int], candidates: Tensor
) -> Tensor:
    """Of a masked language model: what it predicts at the mask [N, 8]."""
    batch = method.batch(windows, torch.Generator().manual_seed(0))
    hidden = torch.zeros_like(batch["loss_mask"])
    hidden[torch.arange(len(windows)), torch.tensor(places) + 1] = True
    batch |= {
        "input_ids": batch["labels"].masked_fill(hidden, method.tokenizer.mask_token_id),
        "loss_mask": hidden,
        "positions": hidden.flatten().nonzero()[:, 0].numpy(),
        "num_chosen": np.ones(len(windows), dtype=np.int64),
    }
    # what a decoder hides in training is not what is hidden here, and it is cut off anyway
    how = {"read": "encoder"} if hasattr(method, "decoder") else {}
    logits = method.logits(to_device(batch, _device(method)), **how)
    return logits.float().gather(1, candidates.to(logits.device))


def _detected(
    method: Any, windows: Sequence[list[int]], places: Sequence[int], candidates: Tensor
) -> Tensor:
    """Of a discriminator: how original each candidate looks in the text [N, 8]."""
    batch, device = one_hidden(windows, method.tokenizer), _device(method)
    ids, mask = batch["labels"].clone(), batch["attention_mask"].to(device)
    rows, columns = torch.arange(len(windows)), torch.tensor(places) + 1
    found = []
    for each in candidates.unbind(1):
        ids[rows, columns] = each
        states = method.states(ids.to(device), mask)
        found.append(-method.network.discriminator_predictions(states)[rows, columns])
    return torch.stack(found, 1)


def _written(
    method: Any, windows: Sequence[list[int]], places: Sequence[int], candidates: Tensor
) -> Tensor:
    """Of an encoder-decoder: what it would write at the place, given what precedes [N, 8]."""
    views = method.views
    hidden = [
        [*window[:place], views.mask, *window[place + 1 :]]
        for window, place in zip(windows, places, strict=True)
    ]
    targets = [[*views.begin, *window, views.end] for window in windows]
    batch = collate(views.frame.around(hidden), targets, int(method.tokenizer.pad_token_id))
    batch = to_device(batch, _device(method))
    logits = method.network(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        decoder_input_ids=shifted(method.network, batch["labels"]),
        use_cache=False,
    ).logits
    at = torch.tensor(places) + len(views.begin)
    return logits[torch.arange(len(windows)), at].float().gather(1, candidates.to(logits.device))
