"""Every row can be trained on every base, and differs from the plain one by what makes it a row."""

import re

import pytest
import torch

from genprior.data import load_data
from genprior.diagnosis.health_verdict import COLLAPSED, VERDICTS
from genprior.errors import GenpriorError
from genprior.modes.published import PUBLISHED
from genprior.modes.remedies import BASES, PLAIN, ROWS, SUITE, config_of, known
from genprior.specs import Spec, Table
from genprior.training.penalties import PENALTIES

SMALL = {"ring": "ring:count=300", "grid": "grid:count=300"}


@pytest.mark.filterwarnings("ignore:nothing bounds the slope:UserWarning")
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("base", SMALL)
def test_every_row_trains_on_points(base: str, row: str) -> None:
    config = config_of(base, row, 0, 1, None)
    data = load_data(SMALL[base])
    gan = config.build(data)
    gan.check(data)
    batch = data.take(torch.arange(config.batch_size))
    from genprior.training.loop import Batch

    record = gan.update(Batch(batch, torch.arange(config.batch_size)), 0.0, torch.Generator().manual_seed(0))
    assert all(bool(torch.isfinite(value)) for value in record.values())


@pytest.mark.filterwarnings("ignore:nothing bounds the slope:UserWarning")
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("base", [base for base in BASES if base not in SMALL])
def test_every_row_can_be_built_for_images(base: str, row: str) -> None:
    config = config_of(base, row, 0, 1, None)
    channels = 3 if base.startswith("stacked-mnist") else 1
    images = torch.zeros(256, channels, 28, 28, dtype=torch.uint8)
    from genprior.data import Dataset

    data = Dataset(base, images)
    config.build(data).check(data)


@pytest.mark.parametrize("row", [row for row in ROWS if row != PLAIN])
def test_every_row_differs_from_the_plain_one_by_its_own_settings(row: str) -> None:
    plain, other = (config_of("ring", each, 0, 1, None).model_dump() for each in (PLAIN, row))
    changed = {name for name in plain if plain[name] != other[name]}
    own = BASES["ring"].own.get(row, {})
    assert changed <= set(ROWS[row].settings) | set(own) | ({"model"} if ROWS[row].model else set())
    assert changed


def test_the_remedy_of_a_collapse_is_the_recipe_of_our_table() -> None:
    told = re.findall(r"--(loss|penalty|pack) ([\w:=.-]+)", VERDICTS[COLLAPSED])
    recipe = config_of("stacked-mnist", "recipe", 0, 1, None)
    assert dict(told)["loss"] == recipe.loss
    assert int(dict(told)["pack"]) == recipe.pack
    penalties = [Spec.parse(value).build(PENALTIES, "penalty") for name, value in told if name == "penalty"]
    assert penalties == [penalty.build(PENALTIES, "penalty") for penalty in recipe.penalty]
    assert recipe.model.options["norm"] == "none"


@pytest.mark.parametrize("base", BASES)
def test_every_base_ends_after_a_number_of_images(base: str) -> None:
    assert config_of(base, PLAIN, 0, 1, None).images_seen


def test_all_tables_speak_of_the_same_data() -> None:
    assert set(PUBLISHED) <= set(BASES)
    assert set(SUITE) <= set(BASES)
    assert PLAIN in ROWS


@pytest.mark.parametrize(
    ("model", "options", "expected"),
    [
        ("mlp", {}, "mlp"),
        ("mlp", {"norm": "spectral"}, "mlp:norm=spectral"),
        ("dcgan:norm=batch,generator_width=8", {"norm": "none"}, "dcgan:norm=none,generator_width=8"),
        ("mlp:width=4", {"deviation": 2}, "mlp:width=4,deviation=2"),
    ],
)
def test_options_of_a_row_are_merged_into_the_model(model: str, options: dict[str, str], expected: str) -> None:
    assert str(Spec.parse(model).with_options(**options)) == expected


def test_unknown_names_are_refused_with_a_suggestion() -> None:
    with pytest.raises(GenpriorError, match="unknown row 'hnge', did you mean 'hinge'"):
        known(("hnge",), ROWS, "row")


def test_names_come_once_and_in_the_order_of_the_table() -> None:
    assert known(("grid", "ring", "grid"), BASES, "data") == ("ring", "grid")


def test_help_knows_all_names_without_the_tables_being_loaded() -> None:
    module = "genprior.modes.remedies"
    assert Table(module, "ROWS").names() == list(ROWS)
    assert Table(module, "BASES").names() == list(BASES)


def test_the_recipe_of_the_grid_is_trained_on_more_images() -> None:
    assert BASES["grid"].images("recipe") / BASES["grid"].images(PLAIN) == 11.2
