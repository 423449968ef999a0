"""What runs in the worker's own clean interpreter: `python -P -s .../sandbox/inside`. Standard library only."""
