"""The filters of the cascade: rules, what is learnt from texts, and what remembers texts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pretrial.data.cleaning.clusters import Clusters, coherence
from pretrial.data.cleaning.dedup import NONE, ExactDuplicates, NearDuplicates
from pretrial.data.cleaning.heuristics import Heuristics, mask_private
from pretrial.data.cleaning.linear_scorer import LinearScorer
from pretrial.data.cleaning.ngram_model import NgramModel
from pretrial.data.cleaning.repeats import ParagraphRepeats, RunRepeats
from pretrial.data.rows import Row
from pretrial.errors import UserError

STAGES = (
    "language",
    "source",
    "shape",
    "repeats",
    "private",
    "perplexity",
    "quality",
    "coherence",
    "safety",
    "cluster",
    "near",
    "paragraphs",
    "runs",
)
# For each text the text to keep, None to leave it out, and what was found ("" for nothing).
Outcome = tuple[str | None, str]
Filter = Callable[[Sequence[Row], Sequence[str]], Iterable[Outcome]]


@dataclass(frozen=True)
class Options(Heuristics):
    """Settings of the cascade: those of `Heuristics`, and of what is learnt from the corpus.

    Attributes:
        skip: names of stages to leave out.
        max_perplexity_ratio: a document may be so many times as perplexing, word by word, as the
            reference texts held out from the model are in the median; 0 sets no bound.
        min_quality: least score of the classifier of reference texts against the corpus; 0 sets no
            bound.
        min_coherence: least mean cosine of neighbouring paragraphs; 0 sets no bound.
        max_harm: largest score of the classifier of harmful texts; it needs such texts.
        num_clusters: topics that the sample is divided into.
        min_cluster_quality: topics whose documents score less on average are advertisements or
            worse: of them a share is kept.
        cluster_keep_ratio: that share.
        near_threshold: similarity of near duplicates; 0 looks for equal documents only.
        min_paragraph: characters of a paragraph that may stand in one document only.
        run_repeat: words of a run that may stand in one document only.
        seed: of the sample and of the topics.
    """

    skip: tuple[str, ...] = ()
    max_perplexity_ratio: float = 20.0
    min_quality: float = 0.02
    min_coherence: float = 0.0
    max_harm: float = 0.5
    num_clusters: int = 32
    min_cluster_quality: float = 0.05
    cluster_keep_ratio: float = 0.1
    near_threshold: float = 0.8
    min_paragraph: int = 80
    run_repeat: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.skip:
            if name not in STAGES:
                raise UserError(f"the stages are {', '.join(STAGES)}; there is no {name!r}")


def _one_by_one(test: Callable[[Row, str], str]) -> Filter:
    """A filter from a test of one document that names what is broken."""

    def apply(rows: Sequence[Row], texts: Sequence[str]) -> Iterator[Outcome]:
        for row, text in zip(rows, texts, strict=True):
            reason = test(row, text)
            yield (None if reason else text), reason

    return apply


def _bounded(
    measure: Callable[[Sequence[str]], Sequence[float]], low: float, high: float, reason: str
) -> Filter:
    """A filter that keeps documents whose measure lies between two bounds."""

    def apply(rows: Sequence[Row], texts: Sequence[str]) -> Iterator[Outcome]:
        for text, value in zip(texts, measure(texts), strict=True):
            good = low <= value <= high
            yield (text if good else None), ("" if good else reason)

    return apply


def cheap(options: Options) -> dict[str, Filter]:
    """Filters that look at one document by rules."""

    def private(rows: Sequence[Row], texts: Sequence[str]) -> Iterator[Outcome]:
        for text in texts:
            masked, kinds = mask_private(text)
            yield masked, " and ".join(kinds)

    return {
        "language": _one_by_one(options.language),
        "source": _one_by_one(options.source),
        "shape": _one_by_one(options.shape),
        "repeats": _one_by_one(lambda _, text: options.repeats(text)),
        "private": private,
    }


def learned(
    options: Options, reference: list[str], harmful: list[str], sample: list[str]
) -> dict[str, Filter]:
    """Filters that learn from texts."""
    filters: dict[str, Filter] = {}
    infinite = float("inf")
    if reference and options.max_perplexity_ratio:
        read, aside = reference[::2], reference[1::2] or reference
        model = NgramModel(read)
        typical = float(np.median(model.perplexity(aside)))
        bound = options.max_perplexity_ratio * typical
        filters["perplexity"] = _bounded(model.perplexity, 0, bound, "perplexing")
    if reference and sample:
        quality = LinearScorer(reference, sample)
        if options.min_quality:
            low = options.min_quality
            filters["quality"] = _bounded(quality.score, low, 1, "unlike the reference")
        filters["cluster"] = _topics(options, quality, sample)
    if options.min_coherence:
        low = options.min_coherence
        filters["coherence"] = _bounded(coherence, low, infinite, "incoherent")
    if harmful:
        others = reference or sample
        harm = LinearScorer(harmful, others)
        filters["safety"] = _bounded(harm.score, 0, options.max_harm, "harmful")
    return filters


def _topics(options: Options, quality: LinearScorer, sample: list[str]) -> Filter:
    """Topics of low quality, such as advertisements, are thinned out."""
    clusters = Clusters(sample, options.num_clusters, seed=options.seed)
    own, scores = clusters.assign(sample), np.array(quality.score(sample))
    means = np.array(
        [
            scores[own == number].mean() if (own == number).any() else 1.0
            for number in range(len(clusters.centres))
        ]
    )
    poor = means < options.min_cluster_quality

    def apply(rows: Sequence[Row], texts: Sequence[str]) -> Iterator[Outcome]:
        for text, topic in zip(texts, clusters.assign(texts), strict=True):
            thinned = poor[topic] and _lot(text) >= options.cluster_keep_ratio
            yield (None if thinned else text), ("poor topic" if thinned else "")

    return apply


def _lot(text: str) -> float:
    """A number in [0, 1) that is the same for a text wherever it stands."""
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def remembering(options: Options) -> dict[str, Filter]:
    """Filters that remember what came before."""
    exact = ExactDuplicates()
    near = NearDuplicates(options.near_threshold) if options.near_threshold else None
    paragraphs = ParagraphRepeats(options.min_paragraph)
    runs = RunRepeats(options.run_repeat)

    def documents(rows: Sequence[Row], texts: Sequence[str]) -> Iterator[Outcome]:
        new = [exact.is_new(text) for text in texts]
        distinct = [text for text, is_new in zip(texts, new, strict=True) if is_new]
        found = iter(near.add(distinct) if near else [NONE] * len(distinct))
        for text, is_new in zip(texts, new, strict=True):
            if not is_new:
                yield None, "equal"
            else:
                alike = next(found) != NONE
                yield (None if alike else text), ("near" if alike else "")

    def strip(texts: Sequence[str], stripped: Iterable[str]) -> Iterator[Outcome]:
        for text, rest in zip(texts, stripped, strict=True):
            if len(rest.strip()) < options.min_chars:
                yield None, "nothing new"
            else:
                yield rest, ("cut" if rest != text else "")

    return {
        "near": documents,
        "paragraphs": lambda rows, texts: strip(texts, map(paragraphs.strip, texts)),
        "runs": lambda rows, texts: strip(texts, runs.strip(texts)),
    }
