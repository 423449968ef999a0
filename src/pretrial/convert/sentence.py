"""What sentence-transformers reads in the folder of an encoder, beside the files of transformers.

`SentenceTransformer(folder)` then gives the vectors that the method's `encode` gives, and
`AutoModel.from_pretrained(folder)` reads the same folder as before.
"""

from __future__ import annotations

import json
from pathlib import Path

from pretrial.train.method import SentenceVectors

# As all versions of sentence-transformers know them; newer ones have further names.
_PLACE = "sentence_transformers.models"


def write_sentence_layout(how: SentenceVectors, width: int, folder: Path) -> None:
    """Writes how vectors of texts are made of a model's last states.

    Args:
        how: the method makes them.
        width: of a state.
        folder: of the export.
    """
    modules = [("", "Transformer"), ("1_Pooling", "Pooling")]
    if how.normalised:
        modules.append(("2_Normalize", "Normalize"))
    listed = [
        {"idx": number, "name": str(number), "path": path, "type": f"{_PLACE}.{kind}"}
        for number, (path, kind) in enumerate(modules)
    ]
    pooling = {
        "word_embedding_dimension": width,
        "pooling_mode_cls_token": how.pooling == "first",
        "pooling_mode_mean_tokens": how.pooling == "mean",
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    }
    files = {
        "modules.json": listed,
        "sentence_bert_config.json": {"max_seq_length": how.max_length, "do_lower_case": False},
        "config_sentence_transformers.json": {"similarity_fn_name": "cosine"},
        "1_Pooling/config.json": pooling,
    }
    for path, _ in modules:
        (folder / path).mkdir(exist_ok=True)
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
