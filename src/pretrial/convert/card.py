"""The model card that lies beside an exported model."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pretrial.card import Card
from pretrial.checkpoints.packaged import ENCODERS, GENERATORS


class Facts(NamedTuple):
    """What a card says beside the run's record.

    Attributes:
        data_note: where the data is from and under what licence, where that is known.
        metrics: what was last measured, by name.
        licence: of the model, as the Hub calls it, such as apache-2.0.
        usage: Markdown on how the model is used, where loading it does not suffice.
        task: what the Hub calls what the model is for; "" of no model of transformers.
        snippet: Python that loads it.
        sentences: whether sentence-transformers reads the folder.
    """

    data_note: str = ""
    metrics: Mapping[str, float] = {}
    licence: str = ""
    usage: str = ""
    task: str = ""
    snippet: str = ""
    sentences: bool = False


def model_card(card: Card, record: Mapping[str, Any], facts: Facts) -> str:
    """Markdown with the front matter that the Hub reads.

    Args:
        card: of the method.
        record: what `run.json` holds: config, arguments, num_examples, environment, commit.
        facts: what else is known.
    """
    arguments = record["arguments"]
    init, commit = arguments.get("init") or "", record.get("commit")
    published = ""
    if card.year:
        arxiv = card.arxiv and f", arXiv:{card.arxiv}"
        published = f" The method is that of *{card.title}* ({card.authors}, {card.year}{arxiv})."
    return "\n".join(
        [
            "---",
            *_front_matter(card, record, facts),
            "---",
            "",
            f"# A model trained with {card.slug}",
            "",
            f"{card.summary}.{published}",
            "",
            *_use(card, facts),
            *_measured(facts),
            "## Training",
            "",
            f"- data: `{_shell(arguments['data'])}`, {record['num_examples']} examples for"
            f" training, {record['num_held_out']} held out",
            *([f"- {facts.data_note}"] * bool(facts.data_note)),
            f"- started from: {f'`{init}`' if init else 'random weights'}",
            _command(card, arguments),
            *([f"- commit of pretrial: {commit}"] * bool(commit)),
            f"- trained with: {', '.join(f'{k} {v}' for k, v in record['environment'].items())}",
            "",
            "```json",
            json.dumps(record["config"], indent=1),
            "```",
            "",
        ]
    )


def _front_matter(card: Card, record: Mapping[str, Any], facts: Facts) -> list[str]:
    """The YAML lines; texts are written as JSON, which YAML reads."""
    init = record["arguments"].get("init") or ""
    lines = [f"license: {json.dumps(facts.licence)}"] * bool(facts.licence)
    if facts.task:
        lines += ["library_name: transformers", f"pipeline_tag: {facts.task}"]
    lines += ["tags:", "- pretrial", f"- {card.slug}"]
    lines += ["- sentence-transformers"] * facts.sentences
    lines += _base_model(init)
    if facts.metrics:
        data = json.dumps(_shell(record["arguments"]["data"]))
        lines += [
            "model-index:",
            f"- name: {json.dumps(f'A model trained with {card.slug}')}",
            "  results:",
            f"  - task: {{type: {facts.task or 'other'}}}",
            f"    dataset: {{name: {data}, type: held-out}}",
            "    metrics:",
        ]
        for name, value in facts.metrics.items():
            lines.append(f"    - {{type: {json.dumps(name)}, value: {value:.6g}}}")
    return lines


def _base_model(init: str) -> list[str]:
    """The line that names a checkpoint, where that is a name on the Hub."""
    elsewhere = not init or init in (ENCODERS | GENERATORS) or Path(init).exists()
    return [] if elsewhere else [f"base_model: {json.dumps(init)}"]


def _use(card: Card, facts: Facts) -> list[str]:
    lines = ["## Use and limits", ""]
    if facts.snippet:
        lines += ["```python", facts.snippet, "```", ""]
    if facts.sentences:
        lines += ["`SentenceTransformer(folder)` gives vectors of texts.", ""]
    lines += [facts.usage] * bool(facts.usage)
    lines.append(
        f"It can: {', '.join(card.abilities)}. It has what its data has, mistakes and biases"
        f" included.{'' if facts.metrics else ' It was measured on nothing.'}"
    )
    if not facts.licence:
        lines.append(
            "No licence was chosen for it: see those of its data and of what it began with."
        )
    return [*lines, ""]


def _measured(facts: Facts) -> list[str]:
    if not facts.metrics:
        return []
    rows = [f"| {name} | {value:.4g} |" for name, value in facts.metrics.items()]
    return ["## Measured at the end", "", "| metric | value |", "| --- | --- |", *rows, ""]


def _command(card: Card, arguments: Mapping[str, Any]) -> str:
    if "trial" in arguments:
        return f"- trained in a trial: {arguments['trial']}, seed {arguments['seed']}"
    options = " ".join(
        f"--{name.replace('_', '-')} {_shell(value)}"
        for name, value in arguments.items()
        if value not in (None, "", [], False)
    )
    command = f"pretrial train {card.slug} {options}"
    if card.slug == "finetuned":  # which is no method, and names what it started from first
        command = f"pretrial finetune {options.removeprefix('--init ')}"
    return f"- command: `{command}` and the config below"


def adapter_card(base: str, kind: type) -> str:
    """Markdown for an adapter: what it belongs to and how it is used.

    Args:
        base: name or folder of the checkpoint.
        kind: class of the network.
    """
    loads = [f"from {kind.__module__.partition('.models.')[0]} import {kind.__name__}", ""]
    if base in GENERATORS:
        loads = ["from pretrial.checkpoints.gguf import load_gguf", ""]
        loads.append(f"base, _ = load_gguf({base!r})")
    elif base in ENCODERS:
        loads.insert(0, "from pretrial.checkpoints.packaged import place_of")
        loads.append(f"base = {kind.__name__}.from_pretrained(place_of({base!r}))")
    else:
        loads.append(f"base = {kind.__name__}.from_pretrained({base!r})")
    head = "\n".join(["library_name: peft", *_base_model(base)])
    code = "\n".join(loads)
    return f"""---
{head}
tags:
- pretrial
- lora
---

# A LoRA adapter

It holds what was trained beside the checkpoint `{base}`, which is needed too:

```python
from peft import PeftModel
{code}
model = PeftModel.from_pretrained(base, folder).eval()  # folder: where this file lies
```
"""


def _shell(value: Any) -> str:
    return shlex.join(map(str, value if isinstance(value, list) else [value]))
