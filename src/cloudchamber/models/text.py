"""Networks that read texts: an embedding, the mean of the words or an LSTM over them, and dense layers."""

from __future__ import annotations

from typing import ClassVar, Literal

from jaxtyping import Float, Int
from pydantic import PositiveInt
from torch import Tensor, nn

from cloudchamber.models.activations import ActivationName
from cloudchamber.models.mlp import MLP
from cloudchamber.models.network import NetworkConfig

FILLER = 0
"""The number of no word, as the data sets fill short texts with."""
Reader = Literal["mean", "lstm"]


class TextNetConfig(NetworkConfig):
    """An embedding, what reads it, and an MLP."""

    reads_words: ClassVar[bool] = True

    name: Literal["text"] = "text"
    embedding: PositiveInt = 64
    """numbers per word"""
    reader: Reader = "mean"
    """mean: of the words; lstm: its state after the last word"""
    depth: PositiveInt = 3
    """number of linear layers behind it"""
    width: PositiveInt = 128
    """neurons of the LSTM and per hidden layer"""
    activation: ActivationName = "relu"

    @property
    def words(self) -> str:
        """The network in a few words."""
        read = "the mean of words" if self.reader == "mean" else "an LSTM"
        return f"{self.depth}-layer MLP, {self.width} wide, {self.activation}, on {read}"


class TextNet(nn.Module):
    """Reads texts; (n, words) whole numbers → (n, outputs).

    Equation: `f = MLP((1/T) Σ_t E[w_t])` over the T words that are not the filler (number 0), or `MLP(h_T)` with h_T
    the state of an LSTM after the last word; texts are filled in front.

    Args:
        vocabulary: how many words have a number, the filler among them.
        outputs: of the network.
        embedding: numbers per word.
        reader: "mean" or "lstm".
        depth: linear layers of the MLP.
        width: neurons of the LSTM, and of the MLP's hidden layers.
        act: the activation between them.

    >>> import torch
    >>> TextNet(100, 2, embedding=8, reader="lstm", depth=2, width=16)(torch.tensor([[0, 0, 5, 7]])).shape
    torch.Size([1, 2])
    """

    def __init__(
        self,
        vocabulary: int,
        outputs: int,
        *,
        embedding: int,
        reader: Reader = "mean",
        depth: int,
        width: int,
        act: ActivationName = "relu",
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding, padding_idx=FILLER)
        self.lstm = nn.LSTM(embedding, width, batch_first=True) if reader == "lstm" else None
        self.head = MLP(embedding if reader == "mean" else width, outputs, depth=depth, width=width, act=act)

    def forward(self, texts: Int[Tensor, "n t"]) -> Float[Tensor, "n k"]:
        """Read them."""
        words = self.embedding(texts)
        if self.lstm is not None:
            return self.head(self.lstm(words)[0][:, -1])
        return self.head(_mean_of_words(words, texts))


def _mean_of_words(words: Float[Tensor, "n t e"], texts: Int[Tensor, "n t"]) -> Float[Tensor, "n e"]:
    counts = (texts != FILLER).unsqueeze(-1).to(words)
    return (words * counts).sum(1) / counts.sum(1).clamp(min=1)
