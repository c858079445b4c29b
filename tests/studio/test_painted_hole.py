import pytest
import torch

from genprior.errors import GenpriorError
from genprior.studio.painted_hole import hole_of


def test_a_hole_stands_row_by_row() -> None:
    assert torch.equal(hole_of({"hole": "000110"}, 2, 3), torch.tensor([[[False, False, False], [True, True, False]]]))


@pytest.mark.parametrize(
    ("drawn", "match"),
    [
        (None, "paint over"),
        ({"hole": ""}, "paint over"),
        ({"hole": "000000"}, "paint over"),
        ({"hole": "111111"}, "something must be left"),
        ({"hole": "11111"}, "expected 6 characters"),
        ({"hole": "00011x"}, "expected 6 characters"),
        ({"hole": "00011\N{SUPERSCRIPT ONE}"}, "expected 6 characters"),
        ({"hole": ["1"] * 6}, "expected 6 characters"),
        ("000110", "paint over"),
    ],
)
def test_anything_else_is_refused(drawn: object, match: str) -> None:
    with pytest.raises(GenpriorError, match=match):
        hole_of(drawn, 2, 3)
