"""The stages of CodeT5: `pretraining` in two, or one of fine-tuning (`tuning`)."""
