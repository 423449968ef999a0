"""The networks of Return of the Encoder.

- `mu`: the encoder-decoder and the decoder-only model of the same layers.
- `layers`: what both are made of.
- `vision`: a CLIP model before the encoder.
- `low_rank`: updates that a teacher learns the task by.
- `public`: checkpoints that a student may begin with.
"""
