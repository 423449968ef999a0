"""The template of methods on images."""
