"""Embeddings of ids."""

from torch import nn


def embedding(rows: int, dimension: int) -> nn.Embedding:
    """Return an embedding that starts small."""
    made = nn.Embedding(rows, dimension)
    nn.init.normal_(made.weight, std=0.02)
    return made
