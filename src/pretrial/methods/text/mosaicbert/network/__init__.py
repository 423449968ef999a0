"""The network: `bert` has the models, `layers` their parts, `alibi` the biases of distances.

`unpad` packs a batch without its padding, `public` reads the checkpoints of the release.
"""
