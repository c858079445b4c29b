"""Signs of ill training, on records that were made by hand."""

import itertools

import pytest
import torch

from genprior.diagnosis.health_verdict import STRETCH, VERDICTS, Episode, Watch, episodes, sign_of
from genprior.diagnosis.signs import FINGERPRINTS, SIGNS, Game, Row, Window, fingerprint

GAME = Game(1.3863)
WELL: Row = {
    "discriminator_loss": 0.9,
    "generator_loss": 1.5,
    "real_logit_mean": 1.0,
    "real_logit_std": 0.8,
    "fake_logit_mean": -1.0,
    "fake_logit_std": 0.7,
    "d_real": 0.7,
    "d_fake": 0.3,
    "accuracy_real": 0.9,
    "accuracy_fake": 0.88,
    "discriminator_gradient_norm": 2.0,
    "non_finite_logits": 0.0,
    "non_finite_gradients": 0.0,
    "discriminator_slope": 2.0,
    "loss_factor": 0.7,
    "loss_factor_non-saturating": 0.7,
    "memorised_share": 0.3,
    "learned_error": 0.2,
    "held_out_error": 0.21,
    "held_out_best": 0.208,
}
WINNING = {"discriminator_loss": 1e-3, "accuracy_real": 1.0, "accuracy_fake": 1.0, "d_fake": 1e-4, "d_real": 0.9999}
ILL: dict[str, Row] = {
    "non-finite": {"generator_loss": None, "not_finite": {"generator_loss": "nan"}},
    "dead discriminator": {
        "real_logit_mean": 0.0,
        "fake_logit_mean": 0.0001,
        "real_logit_std": 0.0001,
        "fake_logit_std": 0.0001,
        "discriminator_slope": 0.0001,
        "discriminator_loss": 1.3863,
        "generator_loss": 0.6931,
    },
    "discriminator memorises": {"memorised_share": 0.9},
    "over-fitting": {"held_out_error": 0.25},
    "saturated": {**WINNING, "loss_factor": 1e-4, "loss_factor_non-saturating": 0.999},
    "discriminator wins": {**WINNING, "loss_factor": 0.999, "loss_factor_non-saturating": 0.999},
    "generator wins": {"accuracy_fake": 0.05, "discriminator_loss": 3.0, "d_fake": 0.9},
}
RESCUES: dict[str, list[Row]] = {  # each of these alone makes the sign go
    "non-finite": [{"not_finite": None}],
    "dead discriminator": [{"real_logit_std": 0.2}, {"fake_logit_mean": -0.5}, {"discriminator_slope": 0.05}],
    "discriminator memorises": [{"memorised_share": 0.6}, {"memorised_share": None}],
    "over-fitting": [{"held_out_best": 0.245}, {"learned_error": 0.26}, {"held_out_error": None}],
    "saturated": [{"loss_factor": 0.1}],
    "discriminator wins": [{"accuracy_fake": 0.99}, {"discriminator_loss": 0.05}],
    "generator wins": [{"accuracy_fake": 0.4}, {"discriminator_loss": 1.5}],
}


def _rows(count: int, first: int = 0, **changes: object) -> list[Row]:
    return [{"step": i + 1, "images_seen": 10 * (i + 1), **WELL, **changes} for i in range(first, first + count)]


def _swinging(count: int, period: int, amplitude: float) -> list[Row]:
    phase = 2 * torch.pi * torch.arange(count) / period
    noise = 0.05 * torch.randn(count, generator=torch.Generator().manual_seed(0))
    values = (0.5 + amplitude * torch.sin(phase) + noise).tolist()
    return [{**row, "d_fake": value} for row, value in zip(_rows(count), values, strict=True)]


def _example(name: str) -> list[Row]:
    """A record that shows a sign; a new sign needs its own in `ILL`."""
    return _swinging(300, 60, 0.3) if name == "oscillating" else _rows(2 * STRETCH, **ILL[name])


@pytest.mark.parametrize("name", SIGNS)
def test_each_sign_is_seen_named_and_has_a_remedy(name: str) -> None:
    seen = sign_of(GAME, _example(name))
    assert seen is not None
    assert seen[0] == name
    assert VERDICTS[name] == SIGNS[name].remedy != ""


@pytest.mark.parametrize("name", SIGNS)
def test_no_sign_is_seen_where_all_is_well(name: str) -> None:
    assert SIGNS[name].seen_in(Window(GAME, _rows(3 * STRETCH))) is None


def test_a_record_that_is_well_shows_no_sign() -> None:
    assert sign_of(GAME, _rows(3 * STRETCH)) is None


@pytest.mark.parametrize(("name", "rescue"), [(name, rescue) for name, all_ in RESCUES.items() for rescue in all_])
def test_a_sign_needs_all_that_it_stands_on(name: str, rescue: Row) -> None:
    rows = _rows(STRETCH, **{**ILL[name], **rescue})
    assert SIGNS[name].seen_in(Window(GAME, rows)) is None


@pytest.mark.parametrize("name", SIGNS)
def test_a_record_without_the_numbers_shows_no_sign(name: str) -> None:
    rows = [{"step": i, "images_seen": i, "loss": 1.0} for i in range(200)]
    assert SIGNS[name].seen_in(Window(GAME, rows)) is None


def test_the_fall_of_the_loss_factor_is_told_in_decades() -> None:
    rows = (
        _rows(STRETCH) + _rows(STRETCH, STRETCH, **ILL["saturated"]) + _rows(STRETCH, 2 * STRETCH, **ILL["saturated"])
    )
    seen = sign_of(GAME, rows)
    assert seen is not None
    assert seen[1] == (
        "the generator's loss factor fell 3.8 decades in 150 steps; non-saturating would still give 1.00 here"
    )


def test_swings_are_counted() -> None:
    seen = sign_of(GAME, _swinging(300, 60, 0.3))
    assert seen is not None
    assert seen[0] == "oscillating"
    assert "9 times in 300 steps" in seen[1]


@pytest.mark.parametrize(("period", "amplitude"), [(60, 0.05), (2000, 0.3), (2, 0.3)])
def test_small_slow_and_fast_changes_are_no_swings(period: int, amplitude: float) -> None:
    assert sign_of(GAME, _swinging(300, period, amplitude)) is None


# When it was ill.


def test_episodes_begin_and_end() -> None:
    first, second, third = _rows(100), _rows(100, 100, **ILL["saturated"]), _rows(75, 200)
    (episode,) = episodes(GAME, first + second + third)
    assert episode.name == "saturated"
    assert 1000 < episode.first <= 1500
    assert 1750 <= episode.last <= 2000


def test_what_is_ill_at_the_end_ends_there() -> None:
    rows = _rows(130) + _rows(80, 130, **ILL["generator wins"])
    (episode,) = episodes(GAME, rows)
    assert (episode.name, episode.last) == ("generator wins", rows[-1]["images_seen"])


def test_one_illness_follows_another() -> None:
    rows = _rows(100, **ILL["saturated"]) + _rows(100, 100, **ILL["discriminator wins"])
    assert [episode.name for episode in episodes(GAME, rows)] == ["saturated", "discriminator wins"]


def test_a_short_record_has_no_episodes() -> None:
    assert episodes(GAME, _rows(STRETCH - 1, **ILL["saturated"])) == []


@pytest.mark.parametrize("block", [1, 10, 77])
def test_a_watch_tells_the_same_whatever_the_blocks(block: int) -> None:
    rows = _rows(100) + _rows(150, 100, **ILL["saturated"]) + _rows(150, 250)
    watch, told = Watch(GAME), []
    for i in range(0, len(rows), block):
        told += [(change, episode.name, episode.first) for change, episode in watch.look(rows[i : i + block])]
    assert told == [("begins", "saturated", 1010), ("ends", "saturated", 1010)]
    assert watch.current is None


def test_an_episode_is_what_the_watch_holds() -> None:
    watch = Watch(GAME)
    list(watch.look(_rows(STRETCH, **ILL["generator wins"])))
    assert isinstance(watch.current, Episode)


# Constants.


@pytest.mark.parametrize(
    ("value", "meaning"),
    [
        (13.8155, "-log 1e-6"),
        (16.118, "-log 1e-7"),
        (18.4207, "-log 1e-8"),
        (23.026, "-log 1e-10"),
        (27.631, "-log 1e-12"),
        (100.0, "BCELoss"),
        (1.1920929e-07, "rounding unit"),
        (1.3863, "2 log 2"),
        (0.6931, "log 2"),
        (-0.6931, "log 2"),
        (0.25, "1/4"),
        (0.125, "1/8"),
        (2.0, "hinge"),
        (0.5, "1/2"),
    ],
)
def test_known_constants_are_named(value: float, meaning: str) -> None:
    told = fingerprint([value] * 5)
    assert told is not None
    assert meaning in told


@pytest.mark.parametrize("values", [[], [1.3863, 1.3863, 1.5], [0.77], [float("nan")]])
def test_values_that_stick_to_nothing_are_not_named(values: list[float]) -> None:
    assert fingerprint(values) is None


def test_the_constants_are_far_enough_apart_to_be_told() -> None:
    known = sorted(FINGERPRINTS)
    assert all(b / a > 1.01 for a, b in itertools.pairwise(known))


def test_a_dead_discriminator_is_told_with_its_constants() -> None:
    seen = sign_of(GAME, _rows(STRETCH, **ILL["dead discriminator"]))
    assert seen is not None
    assert "the discriminator's loss sticks to 1.38629 (2 log 2" in seen[1]


def test_squared_errors_whose_gradient_is_gone_are_a_dead_discriminator() -> None:
    rows = _rows(STRETCH, discriminator_loss=0.5, discriminator_gradient_norm=1e-16)
    assert SIGNS["dead discriminator"].seen_in(Window(Game(0.25), rows)) is not None
