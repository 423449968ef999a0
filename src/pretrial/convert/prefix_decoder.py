"""What a model card says of a decoder whose inputs see each other.

transformers has no such decoder: a folder in Llama's layout loads as a causal one, whose answers
are others. The mask of four axes that it hands through to attention makes the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_RECIPE = '''\
The tokens of a prompt see each other, and those behind it what stands before them (a prefix
decoder). Other tools take the folder for a causal decoder, which reads prompts otherwise and
answers worse: give the mask, as here.

```python
import torch
from transformers import {imports}
{more_imports}
folder = "."  # where this file lies
model = {loader}.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)


def prompt_ids(text):
    """Token ids of a prompt, with the special tokens around it."""
    return [{start}*tokenizer(text, add_special_tokens=False)["input_ids"]{end}]


def prefix_mask(num_prompt, num_all):
    """What is added to attention scores: 0 where a token is seen [1, 1, num_all, num_all]."""
    place = torch.arange(num_all)
    seen = (place <= place[:, None]) | (place < num_prompt)
    hidden = torch.finfo(model.dtype).min
    return torch.zeros(1, 1, num_all, num_all, dtype=model.dtype).masked_fill(~seen, hidden)


@torch.no_grad()
def logits(prompt, target):
    """What is predicted behind each token of a prompt and its target, lists of ids [1, T, V]."""
    ids = torch.tensor([[*prompt, *target]])
    return model(input_ids=ids, attention_mask=prefix_mask(len(prompt), ids.shape[1])).logits


@torch.no_grad()
def write(prompt, **how):
    """The ids that follow a prompt; `how` as `model.generate` takes it, such as max_new_tokens."""
    ids, size = torch.tensor([prompt]), len(prompt)
    mask = prefix_mask(size, size)
    cache = model(input_ids=ids, attention_mask=mask, use_cache=True).past_key_values
    cache.crop(-1)  # `generate` reads the last token itself, which sees all others either way
    ones = torch.ones_like(ids)  # without it a first token that is also padding would be hidden
    found = model.generate(ids, attention_mask=ones, past_key_values=cache, **how)
    return found[0, size:].tolist()


print(tokenizer.decode(write(prompt_ids("A text"), max_new_tokens=20, do_sample=False)))
```
'''


def prefix_recipe(kind: type[Any], before: Sequence[int], behind: Sequence[int]) -> str:
    """How a prefix decoder is loaded and used with transformers, in Markdown.

    Args:
        kind: the class of the network.
        before: token ids that a prompt begins with.
        behind: those that it ends with.
    """
    own = kind.__module__.startswith("pretrial.")
    return _RECIPE.format(
        imports="AutoTokenizer" if own else "AutoModelForCausalLM, AutoTokenizer",
        more_imports=f"\nfrom {kind.__module__} import {kind.__name__}\n" if own else "",
        loader=kind.__name__ if own else "AutoModelForCausalLM",
        start="".join(f"{token}, " for token in before),
        end="".join(f", {token}" for token in behind),
    )
