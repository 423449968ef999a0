"""Checks that abilities take what `read` gives, so that tasks need not know the method."""

from __future__ import annotations

from typing import Any

import torch

from pretrial.check.contract import Subject, generator, require

_NUM_LABELS = 3


def encode_gives_a_vector_for_each_example(subject: Subject) -> None:
    """One finite vector each [N, d]; the tasks probe and retrieval ask for it."""
    method: Any = subject.build().eval()
    if not hasattr(method, "encode"):
        return
    examples = [subject.examples[i] for i in range(4)]
    with torch.no_grad():
        vectors = method.encode(examples)
    mend = "encode() must give a tensor [N, d] for N examples as read() makes them"
    require(isinstance(vectors, torch.Tensor), f"{mend}, not a {type(vectors).__name__}")
    shape = list(vectors.shape)
    require(len(shape) == 2 and shape[0] == len(examples), f"{mend}, not one of shape {shape}")
    require(torch.isfinite(vectors).all(), "encode() gives vectors that are not finite")


def a_classifier_learns_pairs_of_example_and_class(subject: Subject) -> None:
    """The task finetune asks for it."""
    method: Any = subject.build().eval()
    if not hasattr(method, "classifier"):
        return
    classifier = method.classifier(_NUM_LABELS)
    examples = [subject.examples[i] for i in range(4)]
    pairs = [(example, number % _NUM_LABELS) for number, example in enumerate(examples)]
    loss = classifier.losses(classifier.batch(pairs, generator()))["loss"]
    require(loss.requires_grad, "the loss of classifier() has no gradient: let it be trained")
    shape = list(classifier.logits(examples).shape)
    require(
        shape == [len(examples), _NUM_LABELS],
        f"logits() of classifier({_NUM_LABELS}) has shape {shape} for {len(examples)} examples:"
        f" give [{len(examples)}, {_NUM_LABELS}]",
    )
