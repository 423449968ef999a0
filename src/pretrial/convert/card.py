"""The model card that lies beside an exported model."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretrial.card import Card


def model_card(
    card: Card,
    record: Mapping[str, Any],
    data_note: str = "",
    library: str = "",
    loader: str = "",
    usage: str = "",
) -> str:
    """Markdown with the front matter that the Hub reads.

    Args:
        card: of the method.
        record: what `run.json` holds: config, arguments, num_examples, environment,
            commit.
        data_note: where the data is from and under what licence, where that is known.
        library: that loads the model, as the Hub calls it, where one does.
        loader: the class that loads it, where it is one of pretrial.
        usage: Markdown on how it is used, where loading it does not suffice.
    """
    arguments = record["arguments"]
    init = arguments.get("init") or ""
    head = ["tags:", "- pretrial", f"- {card.slug}"]
    if library:
        head.append(f"library_name: {library}")
    if init and not Path(init).exists():
        head.append(f"base_model: {json.dumps(init)}")
    data = [
        f"- data: `{arguments['data']}`, {record['num_examples']} examples for training,"
        f" {record['num_held_out']} held out"
    ]
    if data_note:
        data.append(f"- {data_note}")
    options = " ".join(
        f"--{name.replace('_', '-')} {_shell(value)}"
        for name, value in arguments.items()
        if value not in (None, "", [], False)
    )
    commit = record.get("commit") or ""
    command = f"pretrial train {card.slug} {options}"
    if card.slug == "finetuned":  # which is no method, and names what it started from first
        command = f"pretrial finetune {options.removeprefix('--init ')}"
    published = ""
    if card.year:
        arxiv = card.arxiv and f", arXiv:{card.arxiv}"
        published = f" The method is that of *{card.title}* ({card.authors}, {card.year}{arxiv})."
    return "\n".join(
        [
            "---",
            *head,
            "---",
            "",
            f"# A model trained with {card.slug}",
            "",
            f"{card.summary}.{published}",
            "",
            "## Training",
            "",
            *data,
            f"- started from: {f'`{init}`' if init else 'random weights'}",
            f"- command: `{command}` and the config below",
            *([f"- commit of pretrial: {commit}"] if commit else []),
            f"- trained with: {', '.join(f'{k} {v}' for k, v in record['environment'].items())}",
            "",
            "```json",
            json.dumps(record["config"], indent=1),
            "```",
            "",
            "## Use and limits",
            "",
            *(
                [f"transformers lacks its architecture: load it with `{loader}`.", ""]
                * bool(loader)
            ),
            *([usage] * bool(usage)),
            f"It can: {', '.join(card.abilities)}. It was measured on nothing but its held-out"
            " data, if at all; it has what its data has, mistakes and biases included.",
            "",
        ]
    )


def adapter_card(base: str, kind: type) -> str:
    """Markdown for an adapter: what it belongs to and how it is used.

    Args:
        base: name or folder of the checkpoint.
        kind: class of the network.
    """
    named = f"base_model: {json.dumps(base)}\n" if not Path(base).exists() else ""
    return f"""---
library_name: peft
{named}tags:
- pretrial
- lora
---

# A LoRA adapter

It holds what was trained beside the checkpoint `{base}`, which is needed too:

```python
from peft import PeftModel
from {kind.__module__.partition(".models.")[0]} import {kind.__name__}

base = {kind.__name__}.from_pretrained({base!r})
model = PeftModel.from_pretrained(base, folder).eval()  # folder: where this file lies
```
"""


def _shell(value: Any) -> str:
    return shlex.join(map(str, value if isinstance(value, list) else [value]))
