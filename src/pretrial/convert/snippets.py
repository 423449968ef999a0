"""Python that loads an exported model and uses it once, for its card."""

from __future__ import annotations

from typing import Any, NamedTuple

# Auto classes, what the Hub calls what they are for, and what is done with their model.
_USES = {
    "AutoModelForCausalLM": "text-generation",
    "AutoModelForSeq2SeqLM": "text-generation",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForImageClassification": "image-classification",
    "AutoModelForImageTextToText": "image-text-to-text",
    "AutoModelForPreTraining": "feature-extraction",
    "AutoModel": "feature-extraction",
}
_WRITES = """
inputs = tokenizer("A text to begin with", return_tensors="pt")
inputs.pop("token_type_ids", None)
written = model.generate(**inputs, max_new_tokens=20)
print(tokenizer.decode(written[0], skip_special_tokens=True))
"""
_READS = """
inputs = tokenizer("A text to be read", return_tensors="pt")
with torch.no_grad():
    print(model(**inputs)[0].shape)
"""
_SEES = """
image = Image.new("RGB", (64, 64))  # yours
inputs = processor(images=image, return_tensors="pt")
with torch.no_grad():
    print(model(**inputs)[0].shape)
"""


class Use(NamedTuple):
    """How a model of transformers is used.

    Attributes:
        auto: the Auto class that loads it; "" where only its own class does.
        task: what the Hub calls what it is for.
    """

    auto: str
    task: str


def use_of(model: Any) -> Use:
    """How a model of transformers is used; its class decides."""
    import transformers

    for auto, task in _USES.items():
        known = getattr(transformers, auto)._model_mapping
        kinds = known.get(type(model.config), ())
        if type(model) in (kinds if isinstance(kinds, tuple | list) else (kinds,)):
            sees = model.main_input_name == "pixel_values" and auto == "AutoModel"
            return Use(auto, "image-feature-extraction" if sees else task)
    return Use("", "feature-extraction")


def snippet(model: Any, name: str, *, tokenizer: bool, processor: bool, code: bool) -> str:
    """Python that loads a model of transformers and uses it; "" where that is not known.

    Args:
        model: the model.
        name: of its folder, or on the Hub.
        tokenizer: whether the folder has one.
        processor: whether the folder prepares images.
        code: whether the folder has the code of the architecture.
    """
    use = use_of(model)
    trust = ", trust_remote_code=True" if code else ""
    loader = use.auto or type(model).__name__
    lines = [f'folder = "{name}"  # where it lies, or its name on the Hub', ""]
    names = [loader]
    lines[1] = f"model = {loader}.from_pretrained(folder{trust}).eval()"
    if processor and model.main_input_name == "pixel_values":
        names.append("AutoImageProcessor")
        lines.append("processor = AutoImageProcessor.from_pretrained(folder)")
        lines.append(_SEES)
    elif tokenizer:
        names.append("AutoTokenizer")
        lines.append("tokenizer = AutoTokenizer.from_pretrained(folder)")
        lines.append(_WRITES if use.task == "text-generation" else _READS)
    head = [f"from transformers import {', '.join(sorted(names))}", ""]
    if any("torch." in line for line in lines):
        head = ["import torch", *head]
    if any("Image." in line for line in lines):
        head = ["from PIL import Image", *head]
    return "\n".join([*sorted(head[:-1]), "", *lines]).strip()
