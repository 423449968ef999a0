"""What classifies code: a head on the decoder's state at the end of the text."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import T5ForSequenceClassification

from pretrial.checkpoints.t5 import is_tied
from pretrial.errors import UserError
from pretrial.methods.code.codet5.data import Example
from pretrial.models.architectures.classifier import Classifier
from pretrial.models.architectures.seq2seq import encode_texts, pad_rows, shifted

Texts = str | tuple[str, str]

_LINEAR = 2.0**-12  # tanh of less is the number itself to 2e-8 of it

#: What the model card says of a classifier, and of one of pairs.
CLASSIFIER_NOTE = """\
It loads as `AutoModelForSequenceClassification`. Its classifier is a single linear layer, which the
two layers of the head stand for: they are made for use, so give them fresh weights before you train
it further.
"""
PAIRS_RECIPE = '''\
The classifier of pairs lies beside the model, in `classifier.safetensors`, and its labels in
`classes.json`; transformers has no class for the two together.

```python
import json

import torch
from safetensors.torch import load_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

folder = "."  # where this file lies
model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
head = load_file(f"{folder}/classifier.safetensors")
with open(f"{folder}/classes.json", encoding="utf-8") as file:
    labels = json.load(file)["labels"]


@torch.no_grad()
def vector(text):
    """The decoder's state where it is to write the end token; it has read the text itself [d]."""
    how = {"truncation": True, "split_special_tokens": True, "return_tensors": "pt"}
    ids = tokenizer(text, **how).input_ids
    states = model.get_encoder()(input_ids=ids).last_hidden_state
    start = torch.tensor([[model.config.decoder_start_token_id]])
    read = torch.cat([start, ids[:, :-1]], dim=1)
    decoder = model.get_decoder()
    return decoder(input_ids=read, encoder_hidden_states=states).last_hidden_state[0, -1].float()


def probabilities(code, other):
    """Of each label, for a pair."""
    pair = torch.cat([vector(code), vector(other)])
    hidden = torch.tanh(head["dense.weight"] @ pair + head["dense.bias"])
    logits = head["out_proj.weight"] @ hidden + head["out_proj.bias"]
    return dict(zip(labels, logits.softmax(-1).tolist()))


print(probabilities("def f(x): return x", "def g(y): return y"))
```
'''


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


class EosClassifier(Classifier):
    """Classes from the decoder's state at the end token.

    Contents are texts, pairs of them, or examples, whose code is read. The source is the decoder's
    text too, as in DefectModel and CloneModel of the release. The state at the end token has seen
    all tokens before it, and not that token itself.

    Args:
        network: the T5.
        tokenizer: its tokenizer.
        num_labels: classes.
        max_length: tokens of a text; longer ones are cut, and end all the same.
        pairs: the texts of an example are two, whose vectors go through a layer together.
    """

    def __init__(
        self, network: Any, tokenizer: Any, num_labels: int, max_length: int, pairs: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.pairs = pairs
        width = int(network.config.d_model)
        self.classifier = PairHead(width, num_labels) if pairs else nn.Linear(width, num_labels)
        if not is_tied(network):
            network.lm_head.weight.requires_grad_(False)  # a classifier writes nothing

    def inputs(
        self, contents: Sequence[Texts | Example], generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Ids and mask [B, T], of pairs [2 B, T], and the places of the end tokens, `ends`."""
        texts = [each.text if isinstance(each, Example) else each for each in contents]
        flat = [t for each in texts for t in ((each,) if isinstance(each, str) else each)]
        if len(flat) != (1 + self.pairs) * len(contents):
            raise UserError("a pair of texts is needed to compare, one text to classify")
        rows = encode_texts(self.tokenizer, flat, self.max_length, plain=True)
        return {
            "input_ids": pad_rows(rows, int(self.tokenizer.pad_token_id)),
            "attention_mask": pad_rows([[1] * len(row) for row in rows], 0),
            "ends": torch.tensor(end_positions(rows, int(self.tokenizer.eos_token_id))),
        }

    def num_tokens(self, inputs: dict[str, Tensor]) -> int:
        """Those that the encoder and the decoder read."""
        return 2 * int(inputs["attention_mask"].sum())

    def vectors(self, input_ids: Tensor, attention_mask: Tensor, ends: Tensor) -> Tensor:
        """The decoder's last states at the end tokens [B, d]; of pairs [2 B, d]."""
        encoded = self.network.encoder(input_ids=input_ids, attention_mask=attention_mask)
        states = self.network.decoder(
            input_ids=shifted(self.network, input_ids),
            attention_mask=attention_mask,
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=attention_mask,
            use_cache=False,
        ).last_hidden_state  # [B, T, d]
        return states[torch.arange(len(ends), device=ends.device), ends]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, ends: Tensor) -> Tensor:
        """Logits [B, num_labels]."""
        return self.classifier(self.vectors(input_ids, attention_mask, ends))

    def to_transformers(self, labels: Sequence[str]) -> T5ForSequenceClassification:
        """A classifier of transformers with the same logits, for single texts.

        Its head has a tanh between two layers. The first here multiplies by a power of two so small
        that tanh changes nothing of what float32 or bfloat16 can tell apart, and the second takes
        it back. That holds for all texts: no state is larger than the last norm allows.

        Args:
            labels: names of the classes.
        """
        config = copy.deepcopy(self.network.config)
        config.num_labels = len(labels)
        config.id2label = dict(enumerate(labels))
        config.label2id = {name: place for place, name in enumerate(labels)}
        config.problem_type = "single_label_classification"
        config.eos_token_id = self.tokenizer.eos_token_id  # where the head looks
        made = T5ForSequenceClassification(config)
        own, weights = made.transformer, self.network.state_dict()
        own.load_state_dict({name: weights[name] for name in own.state_dict()})  # no lm_head
        width, norm = config.d_model, own.decoder.final_layer_norm.weight.detach()
        largest = width**0.5 * float(norm.abs().max())
        factor = 2.0 ** math.floor(math.log2(_LINEAR / largest))
        head, linear = made.classification_head, self.classifier
        assert isinstance(linear, nn.Linear)
        with torch.no_grad():
            head.dense.weight.copy_(factor * torch.eye(width))
            head.dense.bias.zero_()
            head.out_proj.weight.copy_(linear.weight / factor)
            head.out_proj.bias.copy_(linear.bias)
        return made.eval()


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
