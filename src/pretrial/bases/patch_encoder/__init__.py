"""What methods that pre-train an encoder of patches share, of images and of spectrograms.

The encoder is `models.architectures.patch_encoder.PatchEncoder`, the blocks of a ViT. A method says
what is hidden and what is predicted (`batch`, `losses`); its parts, reading, fine-tuning with the
labels in the data, the abilities `encode` and `classify`, files and export are here.

- `config`: the settings, as mixins for images, sound and a decoder of pixels, and all together;
- `data`: from what a row holds to the tensor that the encoder reads;
- `method`: the class that a method inherits from.
"""
