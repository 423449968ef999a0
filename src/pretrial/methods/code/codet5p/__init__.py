"""CodeT5+: one encoder-decoder for code that is used as a whole or in parts.

Code alone is learned from first: hidden spans are written out, a beginning is gone on from, and
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

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from torch import Tensor

from pretrial.bases.language_model import TextToTextMethod
from pretrial.card import Card, Claim, Field
from pretrial.errors import UserError
from pretrial.methods.code.codet5p.abilities.retrieval import (
    corpus_index,
    embeddings,
    pair_logits,
    ranked,
)
from pretrial.methods.code.codet5p.abilities.writing import completions, with_retrieved, written
from pretrial.methods.code.codet5p.config import Config
from pretrial.methods.code.codet5p.data import Example, query_of, read_rows, wanted_of
from pretrial.methods.code.codet5p.network.frozen import FrozenDecoder, beside_decoder
from pretrial.methods.code.codet5p.network.t5 import TASK_TOKENS, load_network, with_heads
from pretrial.methods.code.codet5p.stages.plan import stages
from pretrial.models.architectures.language_model import TextToText

if TYPE_CHECKING:
    from pretrial.evaluate.index import Index
    from pretrial.models.architectures.text_encoder import Pooling
    from pretrial.train.run import Run
    from pretrial.train.stage import Stage, Trainable

__all__ = ["CARD", "CodeT5p", "Config"]

CARD = Card(
    slug="codet5p",
    title="CodeT5+: Open Code Large Language Models for Code Understanding and Generation",
    authors="Yue Wang and others",
    year=2023,
    arxiv="2305.07922",
    summary="One encoder-decoder for code that embeds, matches, writes, and completes",
    baseline="the same second stage with contrast alone",
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

_AT_ONCE = 64


class CodeT5p(TextToTextMethod):
    """An encoder-decoder for code; with `config.decoder` an encoder beside a frozen decoder.

    Its network is a T5 with `proj` and `itm_head`, or a `FrozenDecoder`.
    """

    Config: ClassVar[type] = Config

    def new_language_model(self, network: Any, tokenizer: Any) -> TextToText:
        """Learns instructions."""
        longest = self.config.max_text + self.config.max_code
        return TextToText(network, tokenizer, longest, self.config.max_code)

    # Where it comes from, and how it is kept

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """See `Method.build`. With neither source nor data there is no tokenizer, only networks."""
        if not config.decoder:
            return super().build(config, source, data)
        frozen = beside_decoder(config, source)
        return cls(config, frozen, frozen.tokenizer)

    @classmethod
    def vocabulary(cls, config: Any, data: Sequence[Example], **more: Any) -> Any:
        """Byte-level BPE with sentinels and task tokens."""
        own = {"num_sentinels": config.num_sentinels, "task_tokens": TASK_TOKENS}
        return super().vocabulary(config, data, **(own | more))

    @classmethod
    def new_network(cls, config: Any, vocab_size: int) -> Any:
        """An untrained T5 with its heads."""
        return with_heads(super().new_network(config, vocab_size), config.embed_width)

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, Any, Any]:
        """See `load_network`."""
        network, tokenizer = load_network(source, config.embed_width)
        sized = config.sized_as(network.config)
        return replace(sized, embed_width=network.config.embed_dim), network, tokenizer

    def save(self, folder: Path) -> None:
        """Network, heads and tokenizer in the layout of the public bimodal checkpoints."""
        if isinstance(self.network, FrozenDecoder):
            self.network.save(folder)
        else:
            super().save(folder)

    # Examples and training

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
        """Codes, pairs and instructions; a row is whatever its fields make it."""
        return read_rows(rows)

    @staticmethod
    def text_of(example: Example | str) -> str:
        """An example's code, else its text."""
        return example if isinstance(example, str) else example.content

    @classmethod
    def parts(cls, example: Example) -> Iterable[str]:
        """All texts of an example."""
        return (example.text, example.code, example.prompt, example.response)

    def stages(self, run: Run) -> Iterator[Stage]:
        """Code alone, pairs, instructions: those of `config.stages` that there are data for."""
        return stages(self, run)

    # Abilities

    def whole(self, ability: str) -> tuple[Any, Any]:
        """The T5 and its tokenizer.

        Raises:
            UserError: there is a frozen decoder in its place.
        """
        if isinstance(self.network, FrozenDecoder):
            raise UserError(
                f"{ability} needs a CodeT5+ of its own: a model beside a frozen decoder can only"
                " generate; train one without --decoder"
            )
        return self.network, self.tokenizer

    def encode(self, examples: Sequence[str | Example]) -> Tensor:
        """One vector of length 1 for each text, or for each example's code, else its text."""
        texts = [self.text_of(each) for each in examples]
        return embeddings(*self.whole("encode"), texts, self.config.max_code)

    def match(self, examples: Sequence[Example]) -> Iterator[dict[str, Any]]:
        """Whether text and code of each example belong together.

        Raises:
            UserError: an example lacks one of them.
        """
        whole = self.whole("match")
        for number, example in enumerate(examples):
            if not example.is_pair:
                raise UserError(f"row {number} is no pair: match needs a 'text' and a 'code'")
        lengths = self.config.max_text, self.config.max_code
        for start in range(0, len(examples), _AT_ONCE):
            part = examples[start : start + _AT_ONCE]
            logits = pair_logits(*whole, [e.text for e in part], [e.code for e in part], *lengths)
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
        kept = self.index(corpus, index)
        codes = [row["code"] for row in kept.rows]
        lengths = self.config.max_text, self.config.max_code
        found = ranked(*self.whole("search"), queries, kept, codes, lengths, top, rerank)
        for query, results in zip(queries, found, strict=True):
            yield {"text": query, "results": [each | kept.rows[each["place"]] for each in results]}

    def index(self, corpus: str, folder: str) -> Index:
        """The embeddings of a corpus; see `corpus_index`."""
        network, _ = self.whole("encode")
        return corpus_index(network, self.encode, corpus, folder)

    def generate(
        self,
        examples: Sequence[Any],
        *,
        to: Literal["auto", "code", "text"] = "auto",
        corpus: str = "",
        index: str = "",
        num_retrieved: int = 1,
        max_new_tokens: int = 128,
        num_samples: int = 1,
        num_beams: int = 1,
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
            num_samples: texts an example; more than one needs a temperature, or as many beams.
            num_beams: above 1, beam search, which a frozen decoder cannot.
            temperature: of sampling; 0 takes the most probable token each time.
            top_p: of nucleus sampling.
            seed: of sampling.
        """
        how = {"num_samples": num_samples, "temperature": temperature, "top_p": top_p, "seed": seed}
        how |= {"max_new_tokens": max_new_tokens or 128, "num_beams": num_beams}
        found = self.index(corpus, index) if corpus else None
        longest = self.language_model.max_source
        for number, each in enumerate(examples):
            example = Example(prompt=each) if isinstance(each, str) else each
            kind, source = wanted_of(example, to, number)
            answer: dict[str, Any] = {"source": source, "to": kind}
            if found is not None and kind == "code":
                source, codes = with_retrieved(source, found, self.encode, num_retrieved)
                answer["retrieved"] = codes
            texts = written(self.network, self.tokenizer, source, kind, longest, how)
            yield answer | self.row_of(texts)

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

        Raises:
            UserError: an example has no code, or several are wanted without sampling.
        """
        whole = self.whole("complete")
        for number, example in enumerate(examples):
            if not example.code:
                raise UserError(f"row {number} has no 'code' to go on from")
        if num_samples > 1 and not temperature:
            raise UserError(f"{num_samples} continuations need a temperature above 0")
        how: dict[str, Any] = {"num_samples": num_samples, "temperature": temperature}
        how |= {"max_new_tokens": max_new_tokens, "top_p": top_p}
        for start in range(0, len(examples), _AT_ONCE):
            codes = [example.code for example in examples[start : start + _AT_ONCE]]
            longest = self.config.max_code
            found = completions(*whole, codes, max_prefix=longest, seed=seed + start, **how)
            for code, texts in zip(codes, found, strict=True):
                yield {"code": code} | self.row_of(texts)

    def copied(self) -> Any:
        """The T5 with weights of its own; see `whole`."""
        self.whole("fine-tuning")
        return super().copied()

    def classifier(self, num_labels: int, pooling: Pooling = "first") -> Trainable:
        """See `TextToTextMethod.classifier`."""
        self.whole("fine-tuning")
        return super().classifier(num_labels, pooling)

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
