"""Methods on language models: what they share, and how a method is put on them.

`LanguageMethod` builds a model (from scratch with a learned vocabulary, from a public checkpoint,
from a folder of ours), writes with it, and saves it. Its kinds add what an example is:

- `DecoderMethod`: windows of joined texts, each token predicted from those before it; `nll`.
- `PromptedMethod`: parts of texts that denoisers hide, and prompted tasks; in three layouts. Its
  settings are `config.PromptedConfig`.
- `TextToTextMethod`: pairs of texts on a T5 or BART; copies to fine-tune; a diagnosis of its sides.

A method names what it is made of and overrides what differs:

| hook | says | default |
| --- | --- | --- |
| `new_network(config, vocab_size)` | an untrained network | none |
| `vocabulary(config, data)` | a tokenizer learned from examples | `learn_bpe` with `specials` |
| `parts(example)`, `text_of(example)` | its texts, to learn from; the one that is read | the text |
| `load(config, source)` | settings, network and tokenizer of a checkpoint | any that fits |
| `adopt(source)`, `save(folder)` | what is kept beside the network | nothing |
| `windows(examples)`, `new_mixture()` | what batches are made of | joined texts; none |
| `losses(batch)` | what is learned | mean cross-entropy |
| `optim()` | the optimiser | as `Stage.of` reads the settings |
| `stages(run)` | the stages | one over all data |
| `prompts(examples, max_new_tokens)` | token ids that are read before writing | texts, cut |

The smallest method on a decoder:

    class Mine(DecoderMethod):
        Config = Config  # Optimisation and TransformerSizes, vocab_size and max_length

        @classmethod
        def new_network(cls, config, vocab_size):
            return LlamaForCausalLM(cls.network_config(config, LlamaConfig, vocab_size))
"""

from pretrial.bases.language_model.decoder import DecoderMethod
from pretrial.bases.language_model.method import LanguageMethod
from pretrial.bases.language_model.prompted import PromptedMethod
from pretrial.bases.language_model.text_to_text import TextToTextMethod

__all__ = ["DecoderMethod", "LanguageMethod", "PromptedMethod", "TextToTextMethod"]
