"""The stages of CodeT5+: `unimodal` and `bimodal` say what is learned, `plan` when and of what."""
