"""What a trained MultiMend does with a bug: `retrieval` finds lines for the context, `ranking` lists
the candidates of all checkpoints, `search` lets the tests choose, and `repair` gives the patches.
"""
