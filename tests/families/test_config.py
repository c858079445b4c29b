"""Configs: presets, budgets, refusals that name the field, specs, and a light import."""

import subprocess
import sys
import warnings
from functools import partial
from itertools import combinations
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from genprior.data import Dataset
from genprior.errors import GenpriorError
from genprior.families import GANConfig, parse_config
from genprior.models.players import MODELS, PlayerSizes
from genprior.specs import Spec
from genprior.training.loop import Budget
from genprior.training.losses import LOSSES
from genprior.training.optimisation import AdamSettings
from small import points_config

BUDGETS = {"images_seen": 5, "epochs": 2.0, "minutes": 1.0}
NOT_A_NUMBER = float("nan")
INFINITE = float("inf")
# Values out of range for every field.
REFUSED: dict[str, list[Any]] = {
    "held_out": [-0.1, 1.0, "x"],
    "white": [0, -1, "x"],
    "family": ["gam", None],
    "preset": ["dcgan-27", 5, None, ["dcgan-28"]],
    "data": [None, 3],
    "schedule": ["cosine", 3, None],
    "penalty": [3, [3], ["r1"] * 9],
    "augment": [3, [3], ["flip"] * 9],
    "augment_strength": [-0.1, 1.1, NOT_A_NUMBER, "x"],
    "data_root": [3],
    "size": [0, -1, 2.5, "x"],
    "channels": [2, 0, "x"],
    "fit": ["stretch", None],
    "strict": ["perhaps"],
    "model": [None, 3],
    "latent_size": [0, -5, 1.5],
    "pack": [0, -1, 65537, 3, "all"],
    "unroll": [-1, 101, 1.5, "far"],
    "loss": [None, 3],
    "batch_size": [1, 0, -2, 2.5],
    "discriminator_updates": [0, -1],
    "generator_learning_rate": [0, -0.1, NOT_A_NUMBER, INFINITE, "x"],
    "discriminator_learning_rate": [0, -0.1, NOT_A_NUMBER, INFINITE, "x"],
    "beta1": [-0.1, 1, NOT_A_NUMBER],
    "beta2": [-0.1, 1, INFINITE],
    "weight_decay": [-0.1, NOT_A_NUMBER, INFINITE],
    "score_every": [-1, 1.5, "often"],
    "patience": [0, -1, 1.5],
    "average_half_life": [0, -1, NOT_A_NUMBER],
    "images_seen": [0, -1, 2.5],
    "epochs": [0, -1, NOT_A_NUMBER, INFINITE],
    "minutes": [0, -1, NOT_A_NUMBER, INFINITE],
    "seed": [1.5, "x", None],
    "precision": ["float16", None],
    "device": [None, 0],
    "threads": [0, -1],
    "checkpoint_seconds": [0, -1, INFINITE],
    "tensorboard": ["perhaps"],
    "forked_from": ["runs/a", {"run": "a"}, {"run": "a", "step": -1, "images_seen": 3}],
}
DEFAULT_PRESET, PRESETS = GANConfig.DEFAULT_PRESET, GANConfig.PRESETS
every_preset = pytest.mark.parametrize("preset", PRESETS)


def _data(shape: tuple[int, int, int] = (1, 8, 8)) -> Dataset:
    return Dataset("zeros", torch.zeros(20, *shape, dtype=torch.uint8))


@every_preset
@pytest.mark.parametrize("budget", [{}, *({name: value} for name, value in BUDGETS.items())], ids=str)
def test_json_gives_the_same_config_back(budget: dict[str, float], preset: str) -> None:
    config = parse_config({"preset": preset, "seed": 7, **budget})
    assert GANConfig.model_validate_json(config.model_dump_json()) == config
    assert parse_config(config.model_dump()) == config


@every_preset
def test_a_preset_overrides_defaults(preset: str) -> None:
    config = parse_config({"preset": preset})
    assert {name: getattr(config, name) for name in PRESETS[preset]} == PRESETS[preset]


@every_preset
def test_presets_set_known_fields_and_at_most_one_budget(preset: str) -> None:
    assert PRESETS[preset].keys() <= GANConfig.model_fields.keys() - {"preset"}
    assert len(PRESETS[preset].keys() & BUDGETS.keys()) <= 1


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_budget_takes_the_place_of_the_presets(budget: str) -> None:
    config = GANConfig(**{budget: 7})
    assert {name: getattr(config, name) for name in BUDGETS} == {
        name: 7 if name == budget else None for name in BUDGETS
    }


def test_what_is_given_overrides_the_preset() -> None:
    config = parse_config({"preset": "study-literal", "beta1": 0.25, "size": 32})
    assert (config.beta1, config.size, config.weight_decay) == (0.25, 32, 0.5)


def test_the_default_is_the_better_recipe() -> None:
    config = GANConfig()
    assert (config.preset, config.size, config.model) == (DEFAULT_PRESET, 28, "dcgan:norm=none")
    assert (config.discriminator_updates, config.schedule, config.epochs) == (1, "linear", 25)


def test_the_study_is_untouched() -> None:
    config = GANConfig(preset="dcgan-28")
    assert (config.model, config.schedule, config.average_half_life) == ("dcgan", "constant", 10_000)
    assert (config.data, config.size, config.loss, config.latent_size) == ("mnist", 28, "non-saturating", 100)
    rates = config.generator_learning_rate, config.discriminator_learning_rate
    assert (rates, config.beta1, config.weight_decay) == ((0.002, 0.002), 0.5, 0)
    assert (config.discriminator_updates, config.epochs) == (3, 10)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        GANConfig().seed = 1


@pytest.mark.parametrize(
    ("key", "nearest"), [("latents_size", "latent_size"), ("batchsize", "batch_size"), ("Seed", "seed")]
)
def test_an_unknown_key_suggests_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(GenpriorError, match=rf"^{key}: unknown config key, did you mean '{nearest}'\? Known: "):
        parse_config({key: 1})


def test_an_unknown_preset_suggests_the_nearest() -> None:
    with pytest.raises(GenpriorError, match=r"^preset: unknown preset 'dcgan-23', did you mean 'dcgan-"):
        parse_config({"preset": "dcgan-23"})


def test_values_out_of_range_are_known_for_every_field() -> None:
    assert REFUSED.keys() == GANConfig.model_fields.keys()


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in REFUSED.items() for value in values])
def test_a_value_out_of_range_is_refused_with_the_name_of_its_field(name: str, value: object) -> None:
    with pytest.raises(GenpriorError, match=rf"^{name}: .+") as caught:
        parse_config({name: value})
    assert caught.value.argument == name
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [c for n in (2, 3) for c in combinations(BUDGETS, n)], ids=str)
def test_two_budgets_are_refused(names: tuple[str, ...]) -> None:
    expected = f"give one of images_seen, epochs and minutes, got {' and '.join(names)}"
    with pytest.raises(GenpriorError, match=expected):
        parse_config({name: BUDGETS[name] for name in names})


@pytest.mark.parametrize("name", BUDGETS)
def test_a_given_budget_is_the_only_one(name: str) -> None:
    config = parse_config({name: BUDGETS[name]})
    assert [budget for budget in BUDGETS if getattr(config, budget) is not None] == [name]


# Specs: "name" or "name:key=value,key=value".


def _thing(given: int, width: float = 1, depth: float = 2) -> tuple[float, ...]:
    return given, width, depth


THINGS = {"thing": _thing, "plain": lambda: ()}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("thing", (7, 1, 2)),
        ("thing:", (7, 1, 2)),
        ("thing:depth=5", (7, 1, 5)),
        ("thing:width=0.5,depth=-3", (7, 0.5, -3)),
        ("thing:width=1e-3", (7, 0.001, 2)),
    ],
)
def test_a_spec_names_an_object_and_its_options(spec: str, expected: tuple[float, ...]) -> None:
    made = Spec.parse(spec).build(THINGS, "thing", given=7)
    assert made == expected
    assert [type(value) for value in made] == [type(value) for value in expected]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("thin", r"unknown argument 'thin', did you mean 'thing'\? Known: plain, thing"),
        ("", r"unknown argument '', Known: plain, thing"),
        ("thing:widht=3", r"unknown option 'widht' of 'thing', did you mean 'width'\? Known: depth, width"),
        ("thing:given=3", r"unknown option 'given' of 'thing', Known: depth, width"),
        ("thing:width=wide", r"option 'width' of 'thing' must be a number, got 'wide'"),
        ("thing:width=", r"option 'width' of 'thing' must be a number, got ''"),
        ("thing:width", r"option 'width' of 'thing' must be a number, got ''"),
        ("plain:width=3", r"unknown option 'width' of 'plain', it has none"),
    ],
)
def test_a_wrong_spec_is_refused_with_what_is_known(spec: str, message: str) -> None:
    given = {} if spec.startswith("plain") else {"given": 7}
    with pytest.raises(GenpriorError, match=f"^argument: {message}$") as caught:
        Spec.parse(spec).build(THINGS, "argument", **given)
    assert caught.value.argument == "argument"


def _words(given: int, path: str = "", word: str | None = None, size: float | None = None) -> tuple[object, ...]:
    return path, word, size


WORDS = {"words": _words, "half": partial(_words, size=2.5)}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("words", ("", None, None)),
        ("words:word=lower", ("", "lower", None)),
        ("words:word=5,size=5", ("", "5", 5)),
        (r"words:path=C:\a=b\c.png,size=1", (r"C:\a=b\c.png", None, 1)),
        ("words:path=/a b/c:d=e.npy", ("/a b/c:d=e.npy", None, None)),
        ("words:path=", ("", None, None)),
        ("words:path", ("", None, None)),
        ("half:word=upper", ("", "upper", 2.5)),
    ],
)
def test_an_option_annotated_as_text_is_a_word_or_a_path(spec: str, expected: tuple[object, ...]) -> None:
    assert Spec.parse(spec).build(WORDS, "thing", given=7) == expected


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("words:size=wide", r"option 'size' of 'words' must be a number, got 'wide'"),
        ("half:size=wide", r"option 'size' of 'half' must be a number, got 'wide'"),
        ("words:wrd=lower", r"unknown option 'wrd' of 'words', did you mean 'word'\? Known: path, size, word"),
        ("words:given=lower", r"unknown option 'given' of 'words', Known: path, size, word"),
    ],
)
def test_other_options_stay_numbers(spec: str, message: str) -> None:
    with pytest.raises(GenpriorError, match=f"^thing: {message}$"):
        Spec.parse(spec).build(WORDS, "thing", given=7)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_built_by_its_name(loss: str) -> None:
    assert Spec.parse(loss).build(LOSSES, "loss") == LOSSES[loss]()


@pytest.mark.parametrize(
    "spec",
    ["mlp:width=0", "mlp:width=1.5", "mlp:depth=-3", "dcgan:generator_width=0", "dcgan:discriminator_width=nan"],
)
def test_widths_and_depths_of_models_are_positive_integers(spec: str) -> None:
    with pytest.raises(GenpriorError, match=r"^model: .*integer from 1 to 4096, got"):
        Spec.parse(spec).build(MODELS, "model", sizes=PlayerSizes((1, 8, 8), 3))


# From a config to an algorithm.


def test_every_setting_reaches_the_algorithm() -> None:
    config = GANConfig(
        model="dcgan:generator_width=4,discriminator_width=3,norm=none",
        latent_size=7,
        loss="hinge",
        batch_size=6,
        discriminator_updates=2,
        generator_learning_rate=0.1,
        discriminator_learning_rate=0.2,
        beta1=0.3,
        beta2=0.4,
        weight_decay=0.5,
        average_half_life=60,
        precision="float64",
        device="cpu",
    )
    gan = config.build(_data())
    assert (gan.latent_size, gan.settings.batch_size, gan.settings.discriminator_updates) == (7, 6, 2)
    assert (gan.loss, gan.placement.dtype, gan.average.half_life) == (LOSSES["hinge"](), torch.float64, 60)
    for descent, rate in ((gan._generator_descent, 0.1), (gan._discriminator_descent, 0.2)):
        assert descent.settings == AdamSettings(rate, 0.3, 0.4, 0.5)
    assert gan.generator.layers[0].weight.shape == (7, 4, 3, 3)
    assert gan.discriminator.convolutions[0].weight.shape == (3, 1, 4, 4)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("float32", torch.float32)])
def test_the_precision_is_that_of_the_arithmetic(precision: str, dtype: torch.dtype) -> None:
    assert GANConfig(precision=precision, device="cpu").build(_data()).placement.dtype == dtype


def test_a_mixture_never_says_that_it_computes_in_bf16() -> None:
    for asked, told in (("bf16", "float32"), ("float32", "float32"), ("float64", "float64")):
        mixture = parse_config({"family": "mixture", "precision": asked, "device": "cpu", "data": "digits"})
        assert mixture.arithmetic == told
        assert str(mixture.placement().wide) == f"torch.{told}"
        assert parse_config({"family": "gan", "precision": asked}).arithmetic == asked


def test_weights_depend_on_the_seed_of_the_config() -> None:
    first, again, other = (GANConfig(seed=seed, precision="float32").build(_data()).state_dict() for seed in (1, 1, 2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first["generator/layers.0.weight"], other["generator/layers.0.weight"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "dcgn"}, r"^model: unknown model 'dcgn', did you mean 'dcgan'\?"),
        ({"loss": "hing"}, r"^loss: unknown loss 'hing', did you mean 'hinge'\?"),
        ({"loss": "hinge:margin=2"}, r"^loss: unknown option 'margin' of 'hinge', it has none"),
        ({"device": "tpu9"}, r"^device: 'tpu9' is not a device"),
    ],
)
def test_names_that_do_not_exist_are_refused_when_building(change: dict[str, str], message: str) -> None:
    with pytest.raises(GenpriorError, match=message):
        GANConfig(precision="float32", **change).build(_data())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"images_seen": 60}, Budget(images=60)),
        ({"epochs": 2.5}, Budget(epochs=2.5)),
        ({"minutes": 3.0}, Budget(minutes=3.0)),
        ({}, Budget(epochs=25.0)),
    ],
)
def test_a_config_gives_its_budget(given: dict[str, float], expected: Budget) -> None:
    assert GANConfig.model_validate(given).budget() == expected


def test_the_config_names_its_data() -> None:
    data = GANConfig(preset="points", data="ring:count=30").load_data()
    assert (len(data), data.image_shape) == (30, (2, 1, 1))


@pytest.mark.parametrize("module", ["genprior", "genprior.families", "genprior.cli"])
def test_importing_what_help_needs_imports_nothing_heavy(module: str) -> None:
    heavy = ["torch", "numpy", "torchvision", "lightning_fabric", "matplotlib", "sklearn", "datasets", "torchmetrics"]
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & set({heavy})))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


@pytest.mark.parametrize(
    ("changes", "is_told"),
    [
        ({"loss": "wasserstein"}, True),
        ({"loss": "wasserstein", "penalty": ["wgan-gp"]}, False),
        ({"loss": "wasserstein", "model": "mlp:width=8,norm=spectral"}, False),
        ({"loss": "hinge"}, False),
    ],
)
def test_a_loss_that_needs_a_bounded_slope_says_so(changes: dict[str, object], is_told: bool) -> None:
    config = points_config(**changes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config.build(config.load_data())
    told = [str(each.message) for each in caught]
    assert len(told) == is_told
    assert all("needs a bound: add --penalty wgan-gp:weight=10, or norm=spectral to --model" in each for each in told)


@pytest.mark.parametrize("family", [[], {}, None, 3, ["gan"]])
def test_a_family_of_another_type_is_unknown(family: object) -> None:
    with pytest.raises(GenpriorError, match="family: unknown family"):
        parse_config({"family": family})
