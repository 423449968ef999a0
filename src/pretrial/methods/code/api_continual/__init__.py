"""Continual learning of APIs: a model of code learns one library after another and keeps the old.

Software goes on and brings libraries that a trained model has never seen. Fine-tuning it on the
code of each new one makes it good at that and worse at the ones before. Here domains come in order,
each is learnt by plain language modelling on its code, and six strategies can be had: naive
(nothing is done), cumulative (all data so far), replay (half of each batch is remembered), and
three penalties on moving weights that matter: elastic weight consolidation, synaptic intelligence,
Riemannian walk. After each domain the model is asked at held-out call sites of all domains which
call comes next; the accuracy matrix says what was learnt and what was forgotten.

Deviations from the paper and its release:
 1. Call prediction ranks whole names by their likelihood; the release draws single tokens, so that
    no name of several tokens can be right. Its metric stands beside ours, in expectation.
 2. The encoder is fine-tuned as it was pre-trained, by masking; the release turns it into a decoder
    (`is_decoder`). It writes usages by filling one mask after the other.
 3. Separate penalties of EWC are kept as one equal quadratic, in two vectors instead of two for
    each domain; importances are of examples, and `release_importance` takes those of batches.
 4. Gradients that importances are made of are without the penalty's part, from the training step
    itself; the release computes them again for Riemannian walk, without dropout.
 5. Every domain begins with a fresh optimiser, and texts are parted by an end token.
 6. Validation data are drawn from all of a domain, not its beginning.
 7. Usages are scored by exact match, edit similarity and BLEU-4, not by CodeBLEU.

| field | content |
| --- | --- |
| text | code: a method or a file; for completion the code before the call |
| domain | the library it belongs to; domains are learnt in the order in which they first appear |
| language | of the code, by default python |
| calls | call sites where they are known: a list of {"call": name, "start": offset} |
"""

from __future__ import annotations

from pretrial.card import Card, Claim, Field
from pretrial.methods.code.api_continual.config import Config
from pretrial.methods.code.api_continual.model import APIContinual

CARD = Card(
    slug="api_continual",
    title="On the Usage of Continual Learning for Out-of-Distribution Generalization in Pre-trained"
    " Language Models of Code",
    authors="Weyssow and others",
    year=2023,
    arxiv="2305.04106",
    summary="A model of code learns one library after another without forgetting the old ones",
    baseline="naive fine-tuning on one library after another",
    abilities=("complete_call", "complete_usage"),
    fields=(
        Field("text", "code: a method or a file; for completion the code before the call"),
        Field("domain", "the library it belongs to, in the order to learn; for training only"),
        Field("language", "of the code, by default python", required=False),
        Field("calls", 'call sites, as {"call": name, "start": offset}', required=False),
    ),
    claims=(
        Claim("Naive fine-tuning forgets the domains before, in both architectures", "Abstract"),
        Claim(
            "Five strategies, by replay and by regularisation, reduce forgetting in API call and"
            " usage prediction at comparable or better performance",
            "Abstract",
        ),
    ),
)


__all__ = ["CARD", "APIContinual", "Config"]
