"""Which files a phase is trained on: the best of each language, and mixes of languages."""

from __future__ import annotations

from collections.abc import Sequence


def select(
    scores: Sequence[float],
    languages: Sequence[str],
    sizes: Sequence[int],
    num_tokens: float,
) -> list[int]:
    """Places of the best files of each language, which keep the mix of languages.

    A language gets the share of `num_tokens` that it has of all tokens; its files are taken from
    the best down until they fill it, so it is passed by less than one file.

    Args:
        scores: of the files.
        languages: of the files.
        sizes: their tokens.
        num_tokens: to take in all.

    Returns:
        The places in ascending order.
    """
    share = min(num_tokens / sum(sizes), 1.0)
    quotas: dict[str, float] = {}
    for language, size in zip(languages, sizes, strict=True):
        quotas[language] = quotas.get(language, 0.0) + share * size
    chosen = []
    for place in sorted(range(len(scores)), key=lambda place: -scores[place]):
        if quotas[languages[place]] > 0:
            quotas[languages[place]] -= sizes[place]
            chosen.append(place)
    return sorted(chosen)


def raise_language(
    languages: Sequence[str], sizes: Sequence[int], language: str, ratio: float
) -> list[int]:
    """Places of all files, those of one language repeated until it has a share of the tokens.

    It is only ever raised; the others keep their proportions. Without files of that language, or of
    others, every file comes once.

    Args:
        languages: of the files.
        sizes: their tokens.
        language: to raise.
        ratio: share of all tokens that it is raised to.
    """
    own = [place for place, each in enumerate(languages) if each == language]
    rest = [place for place, each in enumerate(languages) if each != language]
    places = own + rest
    if own and rest:
        wanted = sum(sizes[place] for place in rest) * ratio / (1 - ratio)
        total = sum(sizes[place] for place in own)
        turn = 0
        while total + sizes[own[turn % len(own)]] / 2 < wanted:
            places.append(own[turn % len(own)])
            total += sizes[own[turn % len(own)]]
            turn += 1
    return places
