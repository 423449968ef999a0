"""Tests of the templates, laid out as in a folder of one's own methods."""
