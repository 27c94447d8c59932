"""Recipes as files and as `--set`: what is read, what is written, and that the two are inverse."""

import itertools

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudchamber._core.errors import FileAccess, InvalidRecipe
from cloudchamber.training import Recipe, load_recipe, parse_recipe, recipe_yaml


def sections(draw_from):
    return st.fixed_dictionaries({}, optional=draw_from)


positive = st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False)
not_negative = st.floats(min_value=0, allow_nan=False, allow_infinity=False)
number = st.floats(allow_nan=False, allow_infinity=False)
fraction = st.floats(min_value=0, max_value=1, exclude_max=True)
count = st.integers(1, 10**12)
words = st.none() | st.lists(st.text(), max_size=3)
every = st.integers(1, 100)
recipes = sections(
    {
        "data": st.just({"name": "digits"})
        | sections(
            {"samples": count, "dimension": count, "amplitude": number, "frequency": number, "phase": number}
        ).map(lambda fields: {"name": "sines", **fields}),
        "model": sections(
            {"depth": count, "width": count, "bias": st.booleans(), "activation": st.sampled_from(["relu", "x2tanh"])}
        ),
        "initialization": sections({"variance_scale": positive})
        | not_negative.map(lambda std: {"name": "normal", "std": std})
        | st.just({"name": "pytorch_default"}),
        "optimizer": sections({"lr": positive, "momentum": fraction, "weight_decay": not_negative})
        | sections({"lr": positive, "beta1": fraction, "eps": positive}).map(lambda f: {"name": "adamw", **f}),
        "norms": st.sampled_from([None, "batch_norm", {"name": "phase_norm", "after": ["linear1"], "once": False}]),
        "loss": st.sampled_from([None, "cross_entropy", "mse", {"name": "focal", "focusing": 0.5}]),
        "steps": st.integers(0, 10**12),
        "batch_size": st.none() | count,
        "observe": st.builds(
            lambda every, times, layers: {"every": every, "images_every": every * times, "layers": layers},
            every,
            every,
            words,
        ),
        "seed": st.integers(0, 2**70),
        "device": st.text(),
        "threads": st.none() | every,
    }
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recipes)
def test_a_written_recipe_is_read_back_equal(tmp_path_factory, raw):
    recipe = parse_recipe(raw)
    path = tmp_path_factory.getbasetemp() / "recipe.yaml"
    path.write_text(recipe_yaml(recipe), encoding="utf-8")
    assert load_recipe(path) == recipe
    assert recipe_yaml(load_recipe(path)) == recipe_yaml(recipe)
    assert parse_recipe(recipe.model_dump()) == recipe


def test_the_written_recipe_has_every_field():
    written = yaml.safe_load(recipe_yaml(Recipe()))
    assert set(written) == set(Recipe.model_fields)
    assert written["optimizer"] == {"name": "sgd", "lr": 0.01, "momentum": 0.0, "weight_decay": 0.0, "l2": None}


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}\n", "---\n"])
def test_an_empty_file_is_the_default_recipe(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    assert load_recipe(path) == load_recipe() == Recipe()


@pytest.mark.parametrize(
    ("written", "value"), [("1e-3", 0.001), ("1E+2", 100.0), ("1.e2", 100.0), (".5e-1", 0.05), ("2", 2.0)]
)
def test_numbers_are_read_as_people_write_them(tmp_path, written, value):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"optimizer: {{lr: {written}}}\n")
    assert load_recipe(path).optimizer.lr == value
    assert load_recipe(overrides=[f"optimizer.lr={written}"]).optimizer.lr == value


def test_a_quoted_number_stays_a_word():
    assert load_recipe(overrides=["device='1e3'"]).device == "1e3"
    assert load_recipe(overrides=["observe.layers=['1e3', linear1]"]).observe.layers == ["1e3", "linear1"]


OVERRIDES = ["optimizer.name=adam", "optimizer.lr=1e-4", "optimizer.beta1=0.5", "steps=1e1", "observe.layers=[a, 'b*']"]


def test_the_order_of_overrides_does_not_matter():
    expected = load_recipe(overrides=OVERRIDES)
    assert (expected.optimizer.name, expected.optimizer.lr, expected.optimizer.beta1) == ("adam", 1e-4, 0.5)
    assert (expected.steps, expected.observe.layers) == (10, ["a", "b*"])
    for order in itertools.permutations(OVERRIDES):
        assert load_recipe(overrides=order) == expected


def test_a_whole_section_and_a_field_in_it_go_together_in_any_order():
    pair = ["optimizer={name: adam, eps: 1e-6}", "optimizer.lr=0.5"]
    first, second = load_recipe(overrides=pair), load_recipe(overrides=pair[::-1])
    assert first == second
    assert (first.optimizer.eps, first.optimizer.lr) == (1e-6, 0.5)


def test_the_last_value_of_a_field_counts():
    assert load_recipe(overrides=["steps=3", "steps=4"]).steps == 4


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("optimizer: {lr: 0.5, momentum: 0.9}\nmodel: {width: 8}\nsteps: 7\n")
    return path


def test_another_name_starts_a_section_anew(file):
    optimizer = load_recipe(file, ["optimizer.name=adam"]).optimizer
    assert optimizer == parse_recipe({"optimizer": {"name": "adam"}}).optimizer


def test_the_same_name_keeps_the_section_also_where_the_file_does_not_say_it(file):
    for name in ("sgd", "'sgd'"):
        optimizer = load_recipe(file, [f"optimizer.name={name}"]).optimizer
        assert (optimizer.lr, optimizer.momentum) == (0.5, 0.9)
    assert load_recipe(file, ["model.name=mlp"]).model.width == 8


def test_an_override_changes_its_field_alone(file):
    recipe = load_recipe(file, ["optimizer.lr=0.25"])
    assert recipe.model_copy(update={"optimizer": load_recipe(file).optimizer}) == load_recipe(file)
    assert (recipe.optimizer.lr, recipe.optimizer.momentum, recipe.steps) == (0.25, 0.9, 7)


def test_sections_that_are_yaml_aliases_of_each_other_stay_apart(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("a: &a {name: sines}\ndata: *a\nobserve: *a\n")
    with pytest.raises(InvalidRecipe, match=r"data.samples must"):
        load_recipe(path, ["data.samples=0"])
    path.write_text("model: &a {}\nobserve: *a\n")
    assert load_recipe(path, ["model.width=3"]).model.width == 3


@pytest.mark.parametrize("text", ["steps", "=3", " =3", ""])
def test_an_override_without_a_field_is_refused(text):
    with pytest.raises(InvalidRecipe, match=r"an override reads field=value; got .*Remedy: for example optimizer.lr"):
        load_recipe(overrides=[text])


@pytest.mark.parametrize("value", ["[", "{a", "'", "2024-13-45", "\x00", "*a", "[" * 10_000, "!!python/name:os.x"])
def test_an_override_that_is_no_yaml_is_refused(value):
    with pytest.raises(InvalidRecipe, match="an override's value is YAML") as caught:
        load_recipe(overrides=[f"device={value}"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("name=x", "name is not a field; choose from batch_size"),
        ("optimiser.lr=1", "optimiser is not a field; choose from batch_size"),
        ("optimizer.rate=1", "optimizer.rate is not a field; choose from l2, lr"),
        ("optimizer.lr.x=1", "optimizer.lr must be a valid number; got {'x': 1}"),
        ("steps.x=3", "steps must be a valid integer; got {'x': 3}"),
        ("a..b=3", "a is not a field"),
        ("optimizer.lr=", "optimizer.lr must be a valid number; got null"),
        ("optimizer.lr=nan", "optimizer.lr must be a valid number; got 'nan'"),
        ("optimizer.lr=.nan", "optimizer.lr must be a finite number; got nan"),
        ("optimizer.name=adagrad", "optimizer.name must be one of 'sgd', 'adam', 'adamw'; got 'adagrad'"),
        ("optimizer=adam", "optimizer must be a section with fields of its own; got 'adam'"),
    ],
)
def test_an_override_of_a_wrong_field_is_refused(override, message):
    with pytest.raises(InvalidRecipe) as caught:
        load_recipe(overrides=[override])
    assert message in str(caught.value)


@pytest.mark.parametrize("content", [b"steps: [", b"\xff\xfe\xff", b"a: b: c", b"\x00", b"2024-13-45: 1", b"[" * 5000])
def test_a_file_that_is_no_yaml_is_refused(tmp_path, content):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidRecipe, match=r"a recipe is YAML; got: .* Remedy: mend the file .*recipe.yaml"):
        load_recipe(path)


@pytest.mark.parametrize("content", ["- 1\n- 2\n", "hello\n", "3\n", "true\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, content):
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(InvalidRecipe, match=r"a recipe is a mapping of fields; got .* Remedy: mend the file"):
        load_recipe(path)


def test_a_file_that_cannot_be_read_is_an_access_error(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path, tmp_path / "none.yaml" / "below"):
        with pytest.raises(FileAccess, match=r"a recipe is a readable YAML file; got: .* Remedy: check the path"):
            load_recipe(path)


def test_reading_yaml_runs_no_code(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("steps: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(InvalidRecipe):
        load_recipe(path)
