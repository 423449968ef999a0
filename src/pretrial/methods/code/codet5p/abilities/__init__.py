"""What a trained CodeT5+ does: `retrieval` embeds, matches and ranks, `writing` writes."""
