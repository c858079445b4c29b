"""Which number is white, what is refused, and what looks wrong."""

import numpy as np
import pytest
import torch

from genprior.images import to_uint8
from genprior.value_range import WHITES, Extent, check_range, extent_of, likely_white, scaled, white_of


@pytest.mark.parametrize("kind", WHITES)
def test_black_and_white_of_every_type_are_0_and_1(kind: str) -> None:
    values = np.array([0, WHITES[kind]], dtype=kind)
    assert scaled(values).tolist() == [0, 1]
    assert scaled(values).dtype == torch.float32


def test_16_bit_is_rounded_to_the_nearest_of_8() -> None:
    every = np.arange(65536)
    rounded = to_uint8(scaled(every.astype(np.uint16)))
    assert torch.equal(rounded, torch.from_numpy(np.round(every / 257)).byte())


@pytest.mark.parametrize("bits", [1, 8, 10, 12, 14, 16])
def test_all_levels_of_fewer_bits_are_kept_where_white_is_named(bits: int) -> None:
    top = 2**bits - 1
    values = np.arange(top + 1, dtype=np.uint16)
    torch.testing.assert_close(scaled(values, top), torch.linspace(0, 1, top + 1))


def test_rounding_of_single_precision_is_no_fault() -> None:
    assert scaled(np.array([-1e-6, 1 + 1e-6])).tolist() == [0, 1]
    assert scaled(np.array([4095.2]), 4095).tolist() == [1]


@pytest.mark.parametrize(
    ("values", "white", "message"),
    [
        (np.array([0.0, 255.0]), None, r"from 0 to 1, got 0 to 255: .*--white 255"),
        (np.array([0.0, 300.0]), None, "--white 1023"),
        (np.array([-1.0, 1.0]), None, r"\(x \+ 1\) / 2"),
        (np.array([-7, 1], np.int16), 255, "add what is missing to 0"),
        (np.array([4096], np.uint16), 4095, "from 0 to 4095, got 4096 to 4096: .*--white 16383"),
        (np.array([0.5, np.nan, np.inf]), None, "finite numbers, got 2 of 3 that are not"),
        (np.array([1, 2], np.int64), None, "got int64: convert them, or say which number is white with --white"),
    ],
)
def test_numbers_that_are_no_image_are_refused_with_the_remedy(
    values: np.ndarray, white: float | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        scaled(values, white)


@pytest.mark.parametrize(
    ("high", "white", "named"), [(4095, 65535, "4095"), (16383, 65535, "16383"), (1, 255, "1"), (1 / 255, 1, "0.0039")]
)
def test_a_sliver_of_the_range_is_told_with_the_flag_that_mends_it(high: float, white: float, named: str) -> None:
    doubt = check_range(Extent(0, high, 0, 10), white)
    assert doubt is not None
    assert f"--white {named}" in doubt
    assert check_range(Extent(0, high, 0, 10), likely_white(high)) is None


@pytest.mark.parametrize("high", [0, 64, 255])
def test_dark_images_and_black_ones_are_no_doubt(high: float) -> None:
    assert check_range(Extent(0, high, 0, 10), 255) is None


def test_extents_add_up() -> None:
    whole = np.array([[0.25, np.nan], [np.inf, 3.0], [-2.0, 1.0]])
    parts = [extent_of(row) for row in whole]
    assert parts[0] | parts[1] | parts[2] == extent_of(whole) == Extent(-2, 3, 2, 6)


def test_a_type_without_a_white_gets_one() -> None:
    assert white_of("int64", 4095) == 4095
