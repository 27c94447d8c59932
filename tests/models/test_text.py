"""Networks that read texts: fillers do not count, and the last word is where a recurrent one ends."""

import pytest
import torch
from torch import nn

from cloudchamber._core.errors import InvalidRecipe
from cloudchamber.data import Dataset
from cloudchamber.models import TextNet, TextNetConfig, build_model
from cloudchamber.training import load_recipe
from cloudchamber.training.session import model_of

TEXTS = torch.tensor([[0, 0, 3, 4], [0, 5, 3, 9], [2, 2, 2, 2]])


def net(reader):
    torch.manual_seed(0)
    return TextNet(10, 3, embedding=4, reader=reader, depth=2, width=6).double()


def test_the_mean_is_over_the_words_alone():
    model = net("mean")
    vectors = model.embedding.weight[[3, 4]].mean(0)
    assert torch.allclose(model(TEXTS)[0], model.head(vectors[None])[0])


@pytest.mark.parametrize("reader", ["mean", "lstm"])
def test_fillers_in_front_do_not_change_the_mean_and_an_empty_text_has_an_output(reader):
    model = net(reader)
    shorter = TEXTS[:1, 2:]
    same = torch.allclose(model(TEXTS[:1]), model(shorter))
    assert same == (reader == "mean")
    assert torch.isfinite(model(torch.zeros(1, 4, dtype=torch.int64))).all()


def test_an_lstm_is_read_after_the_last_word():
    model = net("lstm")
    states = model.lstm(model.embedding(TEXTS))[0]
    assert torch.equal(model(TEXTS), model.head(states[:, -1]))


def test_the_model_of_a_recipe_knows_the_words_of_its_data():
    words = tuple("abcdefghij")
    dataset = Dataset("toy", TEXTS, torch.tensor([0, 1, 2]), 3, vocabulary=words)
    model = model_of(load_recipe(overrides=["model.name=text", "model.embedding=5"]), dataset)
    assert model.embedding.weight.shape == (10, 5)
    assert not model.embedding.weight[0].any()
    assert isinstance(build_model(TextNetConfig(reader="lstm"), (4,), 3, 10).lstm, nn.LSTM)
    numbers = Dataset("toy", torch.zeros(3, 4), torch.tensor([0, 1, 2]), 3)
    with pytest.raises(InvalidRecipe, match="a network that takes numbers, for toy; got text"):
        model_of(load_recipe(overrides=["model.name=text"]), numbers)
