"""CodeT5+: one encoder-decoder for code that is used as a whole or in parts.

Code alone is learnt from first: hidden spans are written out, a beginning is gone on from, and
everything is written by the decoder alone. Then come pairs of a text and a code. The encoder's
first states of both are drawn together against a queue of past ones (contrastive learning); the
decoder, reading the code and seeing the text, tells whether they belong together (matching, on
negatives that resemble the truth); and each is written from the other. So one model embeds, ranks,
writes from text, and completes. Large models are not trained whole: a small encoder is put beside a
frozen language model, which reads it through cross-attention in its top layer.

Deviations from the paper and its release:
 1. Each example of the first stage is drawn one of the three ways; there each way has a batch of
    its own. All weigh alike in the loss.
 2. Blocks of `max_code` tokens serve all ways; there lengths and batches differ between them.
 3. Negatives for the matching are drawn from this batch and the queue; there from the queue alone,
    which is empty at first. Candidates with the same text or code are never negatives.
 4. A text that is the docstring of its code is cut out of it (`cut_docstrings`).
 5. Momentum, temperature and queue size are not given there; those of ALBEF are assumed.
 6. The decoder begins with the token of its task, [CDEC] or [TDEC], at training and at generation;
    in the release the two scripts differ.
 7. The frozen decoder is in bfloat16, there in fp16. Its cross-attention stands beside the
    self-attention of the layer, as in the release; the paper draws it behind.

| field | content |
| --- | --- |
| code | a function or a file |
| text | what the code does, in words |
| instruction, input, output | a task, what it is applied to, and the answer |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from torch import Tensor

from pretrial.card import Card, Claim, Field
from pretrial.errors import UserError
from pretrial.methods.code.codet5p import training
from pretrial.methods.code.codet5p.config import Config
from pretrial.methods.code.codet5p.frozen import FrozenDecoder, beside_decoder
from pretrial.methods.code.codet5p.network import learn_tokenizer, load_network, new_network
from pretrial.methods.code.codet5p.reading import Example, query_of, read_rows
from pretrial.methods.code.codet5p.retrieval import (
    corpus_index,
    embeddings,
    pair_logits,
    ranked,
    whole,
)
from pretrial.methods.code.codet5p.writing import completed, written
from pretrial.models.tokenizers import texts_of
from pretrial.train.method import Method
from pretrial.train.run import Run
from pretrial.train.stage import Stage

CARD = Card(
    slug="codet5p",
    title="CodeT5+: Open Code Large Language Models for Code Understanding and Generation",
    authors="Yue Wang and others",
    year=2023,
    arxiv="2305.07922",
    summary="One encoder-decoder for code that embeds, matches, writes, and completes",
    baseline="the same encoder with negatives from the batch alone",
    abilities=("search", "encode", "match", "generate", "complete"),
    fields=(
        Field("code", "a function or a file"),
        Field("text", "what the code does; with it a row is a pair", required=False),
        Field("instruction", "a task to be answered by `output`", required=False),
        Field("input", "what the instruction is applied to", required=False),
        Field("output", "the answer to the instruction", required=False),
    ),
    claims=(
        Claim(
            "CodeSearchNet, mean MRR: 74.23 by embeddings, 75.85 re-ranked by matching",
            "(secondary) ablation of retrieval",
        ),
        Claim("CosQA, MRR: 39.57 and 51.51", "(secondary) ablation of retrieval"),
        Claim("AdvTest, MRR: 40.49 and 42.9", "(secondary) ablation of retrieval"),
        Claim(
            "HumanEval pass@1/10/100: 220 M 12.0/20.7/31.6, 770 M 15.5/27.2/42.7, 16 B"
            " 30.9/51.6/76.7, instructed 16 B 35.0/54.5/77.9",
            "(secondary) HumanEval table",
        ),
        Claim(
            "Cross-attention of 36, 67 and 151 M weights for 2, 6 and 16 B; 4 d^2 gives the last"
            " two, but 26.2 M for the first",
            "(secondary) section on large models",
        ),
    ),
)

To = Literal["auto", "code", "text"]
_AT_ONCE = 64


class CodeT5p(Method):
    """An encoder-decoder for code. See the module's text.

    Attributes:
        network: the T5, with `proj` and `itm_head`.
            None beside a frozen decoder.
        tokenizer: None in a model that is neither trained nor used, such as one on the meta device.
        beside: an encoder beside a frozen decoder, where `config.decoder` names one; else None.
    """

    Config: ClassVar[type] = Config

    def __init__(
        self,
        config: Any,
        network: Any,
        tokenizer: Any = None,
        beside: FrozenDecoder | None = None,
    ) -> None:
        super().__init__(config)
        self.network = network
        self.tokenizer = tokenizer
        self.beside = beside

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """See `Method.build`. With neither source nor data there is no tokenizer, only networks."""
        if config.decoder:
            beside = beside_decoder(config, source)
            return cls(config, None, beside.tokenizer, beside)
        if source is not None:
            return cls(*load_network(source, config))
        if data is None:
            return cls(config, new_network(config))
        texts = texts_of(data, lambda e: (e.text, e.code, e.prompt, e.response))
        tokenizer = learn_tokenizer(texts, config)
        config = replace(config, vocab_size=len(tokenizer))
        ids = tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id
        return cls(config, new_network(config, *ids), tokenizer)

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
        """Codes, pairs and instructions; a row is whatever its fields make it."""
        return read_rows(rows)

    def stages(self, run: Run) -> Iterator[Stage]:
        """Code alone, pairs, instructions: those of `config.stages` that there are data for."""
        return training.stages(self, run)

    def export(self) -> Any:
        """The T5, `T5ForConditionalGeneration`, with its heads; or all that is beside a decoder."""
        return self.network if self.beside is None else self.beside

    def save(self, folder: Path) -> None:
        """Network, heads and tokenizer in the layout of the public bimodal checkpoints."""
        if self.beside is not None:
            self.beside.save(folder)
            return
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    # Abilities

    def encode(self, examples: Sequence[str | Example]) -> Tensor:
        """One vector of length 1 for each text, or for each example's code, else its text."""
        whole(self, "encode")
        texts = [e if isinstance(e, str) else e.content for e in examples]
        return embeddings(self.network, self.tokenizer, texts, self.config.max_code)

    def match(self, examples: Sequence[Example]) -> Iterator[dict[str, Any]]:
        """Whether text and code of each example belong together.

        Raises:
            UserError: an example lacks one of them.
        """
        whole(self, "match")
        for number, example in enumerate(examples):
            if not example.is_pair:
                raise UserError(f"row {number} is no pair: match needs a 'text' and a 'code'")
        lengths = self.config.max_text, self.config.max_code
        for start in range(0, len(examples), _AT_ONCE):
            part = examples[start : start + _AT_ONCE]
            texts, codes = [e.text for e in part], [e.code for e in part]
            logits = pair_logits(self.network, self.tokenizer, texts, codes, *lengths)
            for logit, prob in zip(logits.tolist(), logits.sigmoid().tolist(), strict=True):
                yield {"match_logit": logit, "match_prob": prob}

    def search(
        self,
        examples: Sequence[Example],
        *,
        corpus: str,
        top: int = 10,
        rerank: int = 32,
        index: str = "",
    ) -> Iterator[dict[str, Any]]:
        """Finds the codes of a corpus that answer a text.

        Args:
            corpus: rows with `code`: a file, a folder, a data set or builtin:NAME, as --data.
            top: results a query.
            rerank: how many of the nearest are ordered anew by matching; 0 leaves the order of the
                embeddings.
            index: folder where the corpus' embeddings are kept, made the first time.
        """
        if top < 1 or rerank < 0:
            raise UserError(f"top is at least 1 and rerank at least 0, not {top} and {rerank}")
        queries = [query_of(example, number) for number, example in enumerate(examples)]
        rows, kept = corpus_index(self, corpus, index)
        codes = [row["code"] for row in rows]
        lengths = self.config.max_text, self.config.max_code
        found = ranked(self.network, self.tokenizer, queries, kept, codes, lengths, top, rerank)
        for query, results in zip(queries, found, strict=True):
            yield {"text": query, "results": [each | rows[each["place"]] for each in results]}

    def generate(
        self,
        examples: Sequence[Example],
        *,
        to: To = "auto",
        corpus: str = "",
        index: str = "",
        num_retrieved: int = 1,
        max_new_tokens: int = 128,
        num_samples: int = 1,
        temperature: float = 0.0,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Writes the code for a text, the text for a code, or the answer to an instruction.

        Args:
            to: what is written; auto writes what an example lacks.
            corpus: rows with `code`; the codes nearest to a text are put behind it, so that the
                model writes with them in view.
            index: folder where the corpus' embeddings are kept, made the first time.
            num_retrieved: how many codes are put behind a text.
            max_new_tokens: longest text, in tokens.
            num_samples: texts an example; more than one needs a temperature.
            temperature: of sampling; 0 takes the most probable token each time.
            top_p: of nucleus sampling.
            seed: of sampling.
        """
        how = {
            "max_new_tokens": max_new_tokens,
            "num_samples": num_samples,
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
        }
        found = corpus_index(self, corpus, index) if corpus else None
        yield from written(self, examples, to, found, num_retrieved, how)

    def complete(
        self,
        examples: Sequence[Example],
        *,
        max_new_tokens: int = 64,
        num_samples: int = 1,
        temperature: float = 0.0,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Goes on from the code of an example by the decoder alone.

        Args:
            max_new_tokens: longest continuation, in tokens.
            num_samples: continuations an example; more than one needs a temperature.
            temperature: of sampling; 0 takes the most probable token each time.
            top_p: of nucleus sampling.
            seed: of sampling.
        """
        how = {
            "max_new_tokens": max_new_tokens,
            "num_samples": num_samples,
            "temperature": temperature,
            "top_p": top_p,
            "seed": seed,
        }
        yield from completed(self, examples, how)

    @classmethod
    def sample_rows(cls) -> list[dict[str, str]]:
        """A handful of pairs for tests."""
        verbs = {"add": "+", "multiply": "*", "subtract": "-", "divide": "/"}
        names = ("width", "price", "length", "number", "weight", "count")
        return [
            {
                "text": f"{verb.title()} the {name} and the other {name}.",
                "code": f"def {verb}_{name}({name}, other):\n    return {name} {sign} other\n",
            }
            for verb, sign in verbs.items()
            for name in names
        ]


__all__ = ["CARD", "CodeT5p", "Config"]
