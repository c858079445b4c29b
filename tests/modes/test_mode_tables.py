"""Tables over seeds: means, deviations, failures, and published rows."""

from typing import Any

import pytest

from genprior.modes.mode_tables import MeasuredRun, ModeTable, Spread, lines_of, table_of

FEW = {"samples": 100, "collisions": 0, "size": None, "low": 1652.4, "high": None}  # a bound
MANY = {"samples": 100, "collisions": 2, "size": 2475.0, "low": 685.1, "high": 20437.0}
DIVERGENCE = {"raw": 0.5, "floor": 0.01, "floor_spread": 0.001, "debiased": 0.49}


def _found(row: str, seed: int, modes: int | None, rate: float | None = 100.0, **changes: Any) -> MeasuredRun:  # noqa: ANN401
    counted = {
        "samples": 200,
        "found": modes,
        "of": 8,
        "found_surely": modes,
        "high_quality": 0.5,
        "ceiling": 0.989,
        "counts": [25] * 8,
    }
    counted |= {"divergences": {"uniform": DIVERGENCE}, "note": None, "perfect": 0.0014}
    counted |= {"support": {"generated": FEW, "real": MANY, "threshold": 0.1}, **changes}
    failed = "not finite at 320 images" if modes is None else None
    about = {"data": "ring", "row": row, "seed": seed, "samples": 200, "images_per_core_second": rate}
    about |= {"images_seen": 320, "training_seconds": 1.0, "notes": []}
    return MeasuredRun.model_validate({**about, "failed": failed, "modes": None if modes is None else counted})


def _table(*found: MeasuredRun) -> ModeTable:
    return table_of("ring", ("non-saturating", "hinge"), found)


def test_rows_are_means_and_deviations_over_seeds() -> None:
    table = _table(*(_found("hinge", seed, modes) for seed, modes in enumerate([6, 8, 7])))
    plain, hinge = table.rows
    assert hinge.modes == Spread(mean=7, deviation=1)
    assert [each.seed for each in hinge.seeds] == [0, 1, 2]
    assert (table.of, table.samples, table.ceiling, table.perfect) == (8, 200, 0.989, 0.0014)
    assert plain.modes is None  # not measured yet


def test_support_is_a_size_or_where_nothing_collides_a_bound() -> None:
    one = _found("hinge", 0, 6)
    two = _found(
        "hinge", 1, 6, support={"generated": {**FEW, "collisions": 99, "size": 50.0}, "real": MANY, "threshold": 0.1}
    )
    table = _table(one, two)
    assert table.rows[1].support is not None
    assert table.rows[1].support.mean == pytest.approx(851.2)
    assert table.rows[1].support.deviation == pytest.approx(1133.068)
    assert table.rows[1].support.is_bound
    assert table.support == Spread(mean=2475, deviation=None)
    assert [row[-3] for row in lines_of(table)[0][2:4]] == ["> 8.5e+02", "2.5e+03"]
    assert _table(two).rows[1].support == Spread(mean=50, deviation=None)


def test_one_seed_has_no_deviation() -> None:
    assert _table(_found("hinge", 0, 6)).rows[1].modes == Spread(mean=6, deviation=None)


def test_speed_is_told_in_units_of_the_plain_row() -> None:
    table = _table(_found("non-saturating", 0, 8, 200.0), _found("hinge", 0, 8, 50.0), _found("hinge", 1, 8, None))
    assert [row.speed for row in table.rows] == [1, 0.25]
    assert _table(_found("hinge", 0, 8)).rows[1].speed is None


def test_a_seed_that_failed_counts_as_failed_and_nowhere_else() -> None:
    table = _table(_found("hinge", 0, 6), _found("hinge", 1, None))
    assert table.rows[1].failed == 1
    assert table.rows[1].modes == Spread(mean=6, deviation=None)
    cells, notes = lines_of(table)
    assert cells[2][-1] == "1 of 2 seeds failed"
    assert "hinge: seed 1: not finite at 320 images" in notes


def test_without_any_point_of_high_quality_there_is_no_divergence() -> None:
    row = _table(_found("hinge", 0, 0, divergences={"uniform": None})).rows[1]
    assert (row.modes, row.divergence) == (Spread(mean=0, deviation=None), None)


def test_published_rows_stand_below_with_their_sources() -> None:
    cells, notes = lines_of(_table(_found("hinge", 0, 6)))
    assert len({len(row) for row in cells}) == 1
    assert ["GAN", "6.3 +- 0.5", "98.2 +- 0.2 %", "0.45 +- 0.09", "-", "-", "-", "[2]"] in cells
    assert any(note.startswith("[2] PacGAN (Lin et al. 2018), table 1") for note in notes)
    assert ["perfect model", "8", "98.9 %", "0.0014", "-", "2.5e+03", "-", ""] in cells


def test_classes_show_what_the_classifier_is_sure_of() -> None:
    both = {"divergences": {"uniform": DIVERGENCE, "data": DIVERGENCE}, "note": "the classifier is sure of 2%"}
    one, two, three = _found("hinge", 0, 6, **both), _found("hinge", 1, 6, **both), _found("hinge", 2, 6)
    cells, notes = lines_of(_table(two, three, one))
    assert cells[0][1:7] == ["modes of 8", "of these sure", "sure", "KL to uniform", "floor", "KL to data"]
    assert notes[0] == "hinge: 2 of 3 seeds, such as seed 0: the classifier is sure of 2%"
    assert lines_of(_table(one))[1][0] == "hinge: the classifier is sure of 2%"


def test_a_row_of_another_budget_is_told() -> None:
    table = table_of("grid", ("hinge", "recipe"), [_found("hinge", 0, 6), _found("recipe", 0, 6)])
    assert [row.notes for row in table.rows] == [
        (),
        ("trained on 3,584,000 images, rows without such a line on 320,000",),
    ]


@pytest.mark.parametrize("found", [[], [_found("hinge", 0, 6)], [_found("hinge", 0, None)]])
def test_tables_are_stored_and_read_back_whatever_is_known(found: list[MeasuredRun]) -> None:
    table = _table(*found)
    stored = table.model_dump_json()
    assert "NaN" not in stored
    assert ModeTable.model_validate_json(stored) == table
    assert [row.row for row in table.rows] == ["non-saturating", "hinge"]
    assert len(lines_of(table)[0]) > 10
