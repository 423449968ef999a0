"""pretrial: published pre-training methods, each on trial on your data at an equal budget."""

__version__ = "0.1.0"
