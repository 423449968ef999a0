"""The network: `bert` has the models, `layers` their parts, `alibi` the biases, `unpad` the packing.

`public` reads the checkpoints of the release.
"""
