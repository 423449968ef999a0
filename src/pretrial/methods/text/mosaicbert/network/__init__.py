"""The network of MosaicBERT."""
