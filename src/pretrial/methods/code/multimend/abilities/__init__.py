"""What a trained MultiMend does with a bug: `retrieval` finds lines for the context, `ranking` puts
the candidates of all checkpoints in order, `search` lets the tests choose, `repair` gives patches.
"""
