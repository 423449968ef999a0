"""The models of CodeRL: a language `model` of programs, a `critic` on one, and the `parts` that a
trained CodeRL is made of.
"""
