"""The checks of the contract that every method keeps, whatever it is.

A method is found by its folder and takes part without a line here. `checks` lists them all; the
test suite holds every method of the project to them, and `pretrial check SLUG` one of your own.

- `contract`: what a check is, how it fails, and the method that it looks at;
- `declared`: what a method says of itself: card, settings, abilities, published sizes;
- `able`: abilities take what `read` gives, so that tasks need not know the method;
- `staged`: each stage on its own: gradients, losses, micro-batches;
- `trained`: whole runs: resume, seeds, what is saved and exported.
"""
