"""From rows to batches: fragments, their trees as text, the vocabulary, sequences of objectives."""
