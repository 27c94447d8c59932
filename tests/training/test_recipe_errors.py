"""What a recipe may not say, and what the errors then say: the field, the rule, the value, the remedy."""

import math

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from cloudchamber._core.errors import InvalidInput, InvalidRecipe
from cloudchamber.training import Recipe, parse_recipe, recipe_yaml

REMEDY = " Remedy: `cloudchamber recipe` prints every field with its default."
TOP = ", ".join(sorted(Recipe.model_fields))
MODEL = "activation, bias, depth, name, negative_slope, width"
DATA_NAMES = ", ".join(
    f"'{name}'"
    for name in (
        *("digits", "sines", "cifar10", "cifar100", "cifar100_part", "mnist", "tiny_imagenet_50", "adult"),
        *("ag_news", "cola", "sst2"),
    )
)
MODEL_NAMES = "'mlp', 'dense', 'resnet', 'cnn', 'text'"
SECTION = "must be a section with fields of its own; got"


def problems(raw):
    with pytest.raises(InvalidRecipe) as caught:
        parse_recipe(raw)
    message = str(caught.value)
    assert message.endswith(REMEDY)
    assert "\n" not in message
    return message.removesuffix(REMEDY)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"widht": 3}, f"widht is not a field; choose from {TOP}."),
        ({1: 2}, f"1 is not a field; choose from {TOP}."),
        ({None: 2}, f"None is not a field; choose from {TOP}."),
        ({(1, 2): 2}, f"(1, 2) is not a field; choose from {TOP}."),
        (
            {"model": {"widht": 3}},
            f"model.widht is not a field; choose from {MODEL}.",
        ),
        (
            {"model": {2: 3}},
            f"model.2 is not a field; choose from {MODEL}.",
        ),
        # A field may be called like a kind of section.
        (
            {"model": {"mlp": 3}},
            f"model.mlp is not a field; choose from {MODEL}.",
        ),
        ({"optimizer": {"sgd": 3}}, "optimizer.sgd is not a field; choose from l2, lr, momentum, name, weight_decay."),
        (
            {"optimizer": {"name": "adam", "momentum": 0.9}},
            "optimizer.momentum is not a field; choose from beta1, beta2, eps, lr, name, weight_decay.",
        ),
        ({"data": {"samples": 3}}, "data.samples is not a field; choose from name."),
        (
            {"initialization": {"name": "normal", "variance_scale": 1.0}},
            "initialization.variance_scale is not a field; choose from name, std.",
        ),
    ],
)
def test_an_unknown_field_is_named_beside_the_ones_there_are(raw, message):
    assert problems(raw) == message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"optimizer": {"lr": -3}}, "optimizer.lr must be greater than 0; got -3."),
        ({"optimizer": {"lr": 0}}, "optimizer.lr must be greater than 0; got 0."),
        ({"optimizer": {"lr": math.nan}}, "optimizer.lr must be a finite number; got nan."),
        ({"optimizer": {"lr": math.inf}}, "optimizer.lr must be a finite number; got inf."),
        ({"optimizer": {"lr": True}}, "optimizer.lr must be a valid number; got true."),
        ({"optimizer": {"lr": "0.1"}}, "optimizer.lr must be a valid number; got '0.1'."),
        ({"optimizer": {"lr": None}}, "optimizer.lr must be a valid number; got null."),
        ({"optimizer": {"momentum": 1}}, "optimizer.momentum must be less than 1; got 1."),
        ({"optimizer": {"weight_decay": -0.5}}, "optimizer.weight_decay must be greater than or equal to 0; got -0.5."),
        ({"optimizer": {"name": "adamw", "beta1": -1}}, "optimizer.beta1 must be greater than or equal to 0; got -1."),
        ({"steps": True}, "steps must be a valid integer; got true."),
        ({"steps": 1.5}, "steps must be a valid integer; got 1.5."),
        ({"steps": "100"}, "steps must be a valid integer; got '100'."),
        ({"steps": None}, "steps must be a valid integer; got null."),
        ({"steps": [1]}, "steps must be a valid integer; got [1]."),
        ({"steps": -1}, "steps must be greater than or equal to 0; got -1."),
        ({"seed": False}, "seed must be a valid integer; got false."),
        ({"threads": 0}, "threads must be greater than 0 or null; got 0."),
        ({"batch_size": 0}, "batch_size must be greater than 0 or null; got 0."),
        ({"device": 0}, "device must be a valid string; got 0."),
        ({"loss": "l1"}, "loss.name must be one of 'cross_entropy', 'mse', 'focal'; got 'l1'."),
        ({"model": {"bias": 1}}, "model.bias must be a valid boolean; got 1."),
        ({"model": {"width": math.nan}}, "model.width must be a valid integer; got nan."),
        ({"model": {"name": "gpt"}}, f"model.name must be one of {MODEL_NAMES}; got 'gpt'."),
        ({"data": {"name": "digit"}}, f"data.name must be one of {DATA_NAMES}; got 'digit'."),
        ({"data": {"name": None}}, f"data.name must be one of {DATA_NAMES}; got null."),
        ({"data": {"name": ["sines"]}}, f"data.name must be one of {DATA_NAMES}; got ['sines']."),
        ({"optimizer": {"name": 5}}, "optimizer.name must be one of 'sgd', 'adam', 'adamw'; got 5."),
        ({"observe": {"image_samples": 501}}, "observe.image_samples must be less than or equal to 500; got 501."),
        ({"observe": {"layers": "linear1"}}, "observe.layers must be a valid list or null; got 'linear1'."),
        ({"observe": {"layers": ["a", 1]}}, "observe.layers.1 must be a valid string; got 1."),
        ({"optimizer": "adam"}, f"optimizer {SECTION} 'adam'."),
        ({"model": None}, f"model {SECTION} null."),
        ({"data": []}, f"data {SECTION} []."),
        ({"observe": {"images_every": 15}}, "observe: images_every (15) must be a multiple of every (10)."),
        ({"data": {"name": "sines", "low": 3}}, "data: low (3.0) must be below high (2.0)."),
    ],
)
def test_a_wrong_value_is_named_with_its_rule(raw, message):
    assert problems(raw) == message


def test_an_unknown_activation_is_answered_with_every_known_one():
    message = problems({"model": {"activation": "rulu"}})
    assert message.startswith("model.activation must be 'relu', 'leaky_relu', ")
    assert message.endswith("or 'identity'; got 'rulu'.")


def test_every_problem_is_named_at_once():
    message = problems({"optimizer": {"lr": -1, "momentum": 2, "x": 1}, "steps": "many"})
    for part in ("optimizer.lr must", "optimizer.momentum must", "optimizer.x is not a field", "steps must"):
        assert part in message


def test_an_error_shows_the_beginning_of_a_long_value_only():
    assert len(problems({"device": ["x" * 10_000] * 10_000})) < 400


def test_an_error_is_made_at_once_where_yaml_aliases_multiply():
    bomb = "\n".join(f"{chr(97 + i)}: &{chr(97 + i)} [{', '.join([f'*{chr(96 + i)}'] * 9)}]" for i in range(1, 20))
    raw = yaml.safe_load(f"a: &a [lol]\n{bomb}\nsteps: *t\n")
    assert "steps must be a valid integer" in problems(raw)


def test_a_whole_float_is_an_integer_and_nothing_else_is_converted():
    assert parse_recipe({"steps": 1e3, "model": {"width": 8.0}}) == parse_recipe({"steps": 1000, "model": {"width": 8}})
    recipe = parse_recipe({"optimizer": {"lr": 1}})
    assert isinstance(recipe.optimizer.lr, float)


def test_null_stands_where_it_has_a_meaning():
    recipe = parse_recipe({"batch_size": None, "loss": None, "threads": None, "observe": {"layers": None}})
    assert recipe.batch_size is None


def test_a_recipe_cannot_be_changed():
    with pytest.raises(ValidationError):
        Recipe().steps = 3
    assert issubclass(InvalidRecipe, InvalidInput)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
fields = st.sampled_from(
    [*Recipe.model_fields, "name", "lr", "momentum", "width", "every", "std", "low", "layers", "sgd", "mlp", "x"]
) | st.integers(0, 3)
names = st.sampled_from(["sgd", "adam", "adamw", "mlp", "digits", "sines", "normal", "xavier_normal"])
anything = st.recursive(
    scalars | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(fields, anything, max_size=5))
def test_whatever_is_in_a_recipe_it_is_valid_or_refused_in_one_sentence(raw):
    try:
        recipe = parse_recipe(raw)
    except InvalidRecipe as error:
        message = str(error)
    else:
        assert parse_recipe(yaml.safe_load(recipe_yaml(recipe))) == recipe
        return
    assert "Input should" not in message
    assert message.endswith(REMEDY)
