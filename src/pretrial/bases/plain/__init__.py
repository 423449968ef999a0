"""Plain checkpoints as methods: they give what tasks and commands ask of a run.

- `kinds`: what a checkpoint is, by its config: a name or folder becomes a `Checkpoint`;
- `texts`, `media`: encoders and language models, and encoders of images and sound;
- `readers`: from texts, images and recordings to the tensors that networks of transformers take;
- `heads`: a network with a head as something the loop can train;
- `config`: how a model is fine-tuned;
- `starts`: what fine-tuning starts from: the encoder of any model;
- `labelled`, `epochs`: labelled examples of rows, and the order in which they are learnt;
- `finetuned`: a classifier, tagger, regression or ranking that is trained on labelled rows, or
  that was elsewhere.
"""
