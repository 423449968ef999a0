"""The template of methods on texts."""
