"""PolyCom's networks.

- `polynomial`: the activation.
- `language_model`: Llama and OLMoE with it, as models of transformers.
- `public`: checkpoints of these, and warm starts from plain ones.
- `megatron`: the layout of the released weights.
- `spectra`: effective ranks of weights, and how alike layers are.
"""
