"""The encoder of long sequences, its mixers of positions, and the hand-over between two stages.

- `encoder`: configuration, encoder and classifier, as models of transformers;
- `attention`, `state_space` (S4, S4D, DLR), `selective_scan` (Mamba): what mixes positions;
- `handover`: a copy of an encoder for pre-training, and the way back.
"""
