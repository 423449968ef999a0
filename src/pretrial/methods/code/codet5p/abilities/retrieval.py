"""Embedding, matching and search with a trained network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pretrial.data.reading.sources import load
from pretrial.errors import UserError
from pretrial.evaluate.index import Index, fingerprint, kept_index
from pretrial.methods.code.codet5p.network.t5 import MATCH, embed, match_logits, task_ids
from pretrial.models.architectures.seq2seq import encode_texts, pad_rows
from pretrial.train.in_batches import by_length

_BATCH = 64


@torch.no_grad()
def embeddings(network: Any, tokenizer: Any, texts: Sequence[str], max_length: int) -> Tensor:
    """One vector of length 1 a text [N, d], on the CPU; texts of like length go together.

    An empty text gets the vector of the special tokens alone.
    """
    rows = encode_texts(tokenizer, texts, max_length, plain=True)
    vectors = torch.empty(len(rows), network.proj.out_features)
    for places, ids, mask in _batches(rows, tokenizer.pad_token_id, network.device):
        states = network.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        vectors[places] = embed(network.proj, states).float().cpu()
    return vectors


@torch.no_grad()
def pair_logits(
    network: Any,
    tokenizer: Any,
    texts: Sequence[str],
    codes: Sequence[str],
    max_text: int,
    max_code: int,
) -> Tensor:
    """Logit of "belongs together" of each text and its code [N], on the CPU.

    A text that occurs several times is encoded once a batch.
    """
    text_rows = encode_texts(tokenizer, texts, max_text, plain=True)
    code_rows = encode_texts(tokenizer, codes, max_code, plain=True)
    pad, match_id = tokenizer.pad_token_id, task_ids(tokenizer)[MATCH]
    logits = torch.empty(len(code_rows))
    for places, ids, code_mask in _batches(code_rows, pad, network.device):
        wanted = [text_rows[place] for place in places]
        single = list(dict.fromkeys(map(tuple, wanted)))
        source = pad_rows(single, pad).to(network.device)
        mask = (source != pad).long()
        states = network.encoder(input_ids=source, attention_mask=mask).last_hidden_state
        place_of = {row: place for place, row in enumerate(single)}
        owner = torch.tensor([place_of[tuple(row)] for row in wanted], device=network.device)
        both = match_logits(network, match_id, states[owner], mask[owner], ids, code_mask)
        logits[places] = both[:, 1].float().cpu()
    return logits


def corpus_index(
    network: Any, encode: Callable[[Sequence[str]], Tensor], corpus: str, folder: str
) -> Index:
    """The rows of a corpus that hold code, and the index of their embeddings.

    Args:
        network: which made an index that is found.
        encode: embeds codes.
        corpus: as `data.reading.sources.load` takes it.
        folder: where the index is kept, made the first time; "" for nowhere.

    Raises:
        UserError: no row has code, or the folder holds the index of another corpus or model.
    """
    rows = [row for row in load(corpus) if str(row.get("code") or "").strip()]
    if not rows:
        raise UserError(f"{corpus} has no rows with 'code' to search in")
    weights = network.encoder.final_layer_norm.weight, network.proj.weight
    name = fingerprint(str(part.detach().float().flatten().tolist()) for part in weights)
    codes = [row["code"] for row in rows]
    index = kept_index(Path(folder) if folder else None, rows, codes, encode, name)
    index.rows = rows
    return index


def _batches(
    rows: Sequence[list[int]], pad_id: int, device: torch.device
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Places of rows, their ids [B, T], and 1 at tokens [B, T]."""
    for places in by_length(rows, _BATCH):
        ids = pad_rows([rows[place] for place in places], pad_id).to(device)
        yield places, ids, (ids != pad_id).long()


def ranked(
    network: Any,
    tokenizer: Any,
    texts: Sequence[str],
    index: Index,
    codes: Sequence[str],
    lengths: tuple[int, int],
    top: int,
    rerank: int,
) -> Iterator[list[dict[str, Any]]]:
    """The best codes of each text.

    The nearest by cosine are found; of these the first `rerank` are ordered anew by the sum of
    their matching logit and their cosine, and the others stay below them, as in the release.

    Args:
        network: the network.
        tokenizer: its tokenizer.
        texts: the queries.
        index: embeddings of the codes.
        codes: the codes, in the order of the index.
        lengths: most tokens of a text and of a code.
        top: results a query.
        rerank: how many are matched; 0 leaves the order of the cosines.

    Yields:
        For each text its results, the best first: "place", "score" and "cosine".
    """
    vectors = embeddings(network, tokenizer, texts, lengths[0])
    cosines, places = index.search(vectors, max(top, rerank))
    for text, near, where in zip(texts, cosines, places, strict=True):
        found: list[dict[str, Any]] = [
            {"place": int(place), "score": float(score), "cosine": float(score)}
            for place, score in zip(where, near, strict=True)
        ]
        first = found[:rerank]
        if first:
            wanted = [codes[each["place"]] for each in first]
            logits = pair_logits(network, tokenizer, [text] * len(wanted), wanted, *lengths)
            for each, logit in zip(first, logits.tolist(), strict=True):
                each["score"] += logit
            first.sort(key=lambda each: -each["score"])
        yield [*first, *found[rerank:]][:top]
