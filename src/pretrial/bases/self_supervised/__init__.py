"""Public networks that learn without labels by a loss of their own, as something to add to.

A method that changes how such a network goes on learning (a teacher, a pull to where it began,
replay, other steps) needs its objective and its parts, whatever it reads, and no more: here they
are, of images and of texts behind one interface.

- `images`: a masked autoencoder;
- `texts`: a masked language model, on the base of encoders of texts;
- `config`: settings of either.

Both are built, trained and saved as a method is, and give beyond it: `field`, what they read;
`prepared`, the examples of a run as `batch` takes them; `features`, one vector for each whole input
of a batch; `encode`, the same of examples; `classifier`, a new head on a copy of the encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoModelForMaskedLM

from pretrial.bases.examples import Example
from pretrial.bases.self_supervised.config import Input
from pretrial.bases.self_supervised.images import MaskedAutoencoder
from pretrial.bases.self_supervised.texts import MaskedLanguageModel
from pretrial.checkpoints.keys import load_config
from pretrial.errors import UserError

_NETWORKS: dict[Input, Any] = {"image": MaskedAutoencoder, "text": MaskedLanguageModel}


def new_learner(
    config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
) -> Any:
    """A network by its settings, or that of a checkpoint, which decides what is read.

    Args:
        config: of `config.SelfSupervised`.
        source: a ViT-MAE, or a masked language model such as RoBERTa.
        data: examples; with neither source nor data a network for texts has no tokenizer.

    Raises:
        UserError: the checkpoint is neither, or does not fit, or the data are of the other field.
    """
    kind = _NETWORKS[config.input if source is None else kind_of(source)]
    return kind.build(config, source, data)


def kind_of(source: str | Path) -> Input:
    """What the network of a checkpoint reads.

    Raises:
        UserError: it is neither a ViT-MAE nor a masked language model.
    """
    try:
        config = load_config(source)
    except (OSError, ValueError):
        config, kind = None, "nothing that can be read"
    if config is not None:
        kind = config.model_type
        if kind == "vit_mae":
            return "image"
        if type(config) in AutoModelForMaskedLM._model_mapping and not config.is_encoder_decoder:
            return "text"
    raise UserError(
        f"{source} is {kind}, neither a ViT-MAE nor a masked language model: give one, such as"
        " facebook/vit-mae-base or roberta-base"
    )
