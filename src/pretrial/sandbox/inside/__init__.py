"""What runs in the worker's own clean interpreter. Standard library only; see `zygote`."""
