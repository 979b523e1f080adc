"""The table of vectors at the bottom of every model, one for each id."""

from torch import nn


class Embedding(nn.Embedding):
    """`nn.Embedding`, a table (V, C): ids (B, T) → vectors (B, T, C)."""

    def reset_parameters(self) -> None:
        """Skip the random values of a table on the "meta" device, as `Linear` does.

        There are none to skip, but torch would import its compiler for them: a second and 70 MB at every start.
        """
        if not self.weight.is_meta:
            super().reset_parameters()
