"""Texts and files for the tests of Arctic-SnowCoder."""

from __future__ import annotations

import torch

from pretrial.methods.code.snowcoder.data import read_files
from pretrial.methods.code.snowcoder.network import Annotator, Settings

GOOD = '''def mean(values):
    """Return the mean of values."""
    return sum(values) / len(values)
'''
BAD = "T=[" + "0x1f,0x2e,9.1e3," * 6 + "]\n"


def made_files(num: int = 24) -> list:
    """Files of two languages and four repositories."""
    rows = []
    for place in range(num):
        language = "python" if place % 3 else "c"
        text = f"{'# py' if place % 3 else '// c'} file {place}\n" + f"x{place} = {place}\n" * 5
        repo = f"repo{place % 4}"
        rows.append({"text": text, "language": language, "repo": repo, "path": f"f{place}"})
    return read_files(rows)


def taught(settings: Settings, texts: int = 60) -> Annotator:
    """An annotator that has seen good and bad texts."""
    torch.manual_seed(0)
    annotator = Annotator(settings)
    judged = [(GOOD.replace("mean", f"f{i}"), 1.0) for i in range(texts)]
    judged += [(BAD.replace("1f", f"{i}"), 0.0) for i in range(texts)]
    vectors = annotator.vectors([text for text, _ in judged])
    examples = [(vector, grade) for vector, (_, grade) in zip(vectors, judged, strict=True)]
    optimizer = torch.optim.Adam(annotator.head.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        annotator.losses(annotator.batch(examples, torch.Generator()))["loss"].backward()
        optimizer.step()
    return annotator
