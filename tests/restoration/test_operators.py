"""Laws of every operator: adjoint, linear, differentiable, the same one by one; known answers; refusals."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from genprior.errors import GenpriorError
from genprior.restoration.kernels import Shape
from genprior.restoration.noise import NOISES, measure, stacked
from genprior.restoration.operators import OPERATORS, Operator, compressed_sensing, inpaint, masked
from genprior.specs import Spec

GREY, COLOUR, ODD = (1, 12, 12), (3, 12, 8), (2, 9, 15)
SHAPES = ((1, 28, 28), (3, 32, 32), (1, 32, 48), (3, 64, 64))
# Specs that reach every option of every entry; an entry that is not here keeps the laws with its defaults.
SPECS = {
    "denoise": [""],
    "inpaint": [
        "box=3",
        "box=2,top=0,left=5",
        "random=0.4",
        *(f"half={h}" for h in ("lower", "upper", "left", "right")),
    ],
    "downsample": ["factor=1", "factor=4", "factor=2"],
    "blur": ["sigma=0.2", "sigma=1", "sigma=2", "motion=2", "motion=5,angle=30", "motion=7,angle=-90"],
    "compressed-sensing": ["m=1", "m=20"],
}
CASES = [
    (f"{name}:{options}", shape)
    for name in OPERATORS
    for options in SPECS.get(name, [""])
    for shape in (*SHAPES, ODD)
    if name != "downsample" or shape != ODD
] + [("downsample:factor=3", ODD)]
every_case = pytest.mark.parametrize(("spec", "shape"), CASES)


def _make(spec: str, shape: Shape = GREY, seed: int = 0) -> Operator:
    return Spec.parse(spec).build(OPERATORS, "operator", image_shape=shape, seed=seed)


def _first(name: str) -> str:
    return f"{name}:{SPECS.get(name, [''])[0]}"


def _images(count: int, shape: Shape, seed: int = 0) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def _exact(operator: Operator) -> Operator:
    operator.physics.double()
    if hasattr(operator.physics, "dtype"):  # compressed sensing casts to it
        operator.physics.dtype = torch.float64
    return operator


# Laws.


@every_case
def test_the_adjoint_is_the_adjoint(spec: str, shape: Shape) -> None:
    operator = _exact(_make(spec, shape))
    own = stacked(operator, range(4))
    x = _images(4, shape).double()
    prediction = operator.physics.A(x, **own)
    y = torch.randn(prediction.shape, dtype=torch.float64)
    seen, returned = (prediction * y).flatten(1).sum(1), (x * operator.physics.A_adjoint(y, **own)).flatten(1).sum(1)
    torch.testing.assert_close(seen, returned, rtol=1e-9, atol=1e-9)


@every_case
def test_operators_are_linear(spec: str, shape: Shape) -> None:
    operator = _exact(_make(spec, shape))
    own = stacked(operator, range(3))
    a, b = _images(3, shape, 1).double(), _images(3, shape, 2).double()
    whole = operator.physics.A(2 * a - 3 * b, **own)
    parts = 2 * operator.physics.A(a, **own) - 3 * operator.physics.A(b, **own)
    torch.testing.assert_close(whole, parts, rtol=1e-10, atol=1e-12)


@every_case
def test_gradients_flow_and_are_those_of_the_adjoint(spec: str, shape: Shape) -> None:
    operator = _exact(_make(spec, shape))
    own = stacked(operator, range(2))
    x = _images(2, shape).double().requires_grad_()
    prediction = operator.physics.A(x, **own)
    y = torch.randn(prediction.shape, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((prediction * y).sum(), x)
    torch.testing.assert_close(gradient, operator.physics.A_adjoint(y, **own), rtol=1e-10, atol=1e-12)


@every_case
def test_a_batch_is_its_images_one_by_one(spec: str, shape: Shape) -> None:
    operator, x = _exact(_make(spec, shape)), _images(5, shape)
    together = operator.physics.A(x.double(), **stacked(operator, range(5)))
    each = [operator.physics.A(x[i : i + 1].double(), **operator.parameters(i)) for i in range(5)]
    torch.testing.assert_close(together, torch.cat(each))
    measured = measure(x, _make(spec, shape), NOISES["none"](), seed=0)
    rounding = 1e-6 * float(together.abs().max())  # of a sum in float32, of thousands of terms
    torch.testing.assert_close(measured.double(), together, rtol=1e-5, atol=rounding)


@every_case
def test_a_seed_decides_the_operator(spec: str, shape: Shape) -> None:
    x = _images(3, shape)
    measured = [measure(x, _make(spec, shape, seed), NOISES["none"](), seed=0) for seed in (1, 1, 2)]
    assert torch.equal(measured[0], measured[1])
    assert torch.equal(measured[0], measured[2]) == (not spec.startswith(("inpaint:random", "compressed-sensing")))


@every_case
def test_operators_are_float32_without_noise(spec: str, shape: Shape) -> None:
    from deepinv.physics import ZeroNoise

    operator, x = _make(spec, shape), _images(1, shape)
    assert isinstance(operator.physics.noise_model, ZeroNoise)
    y = operator.physics.A(x, **operator.parameters(0))
    assert y.dtype == torch.float32
    assert all(value.dtype == torch.float32 and len(value) == 1 for value in operator.parameters(3).values())


@pytest.mark.parametrize("name", OPERATORS)
def test_a_clone_measures_the_same(name: str) -> None:
    operator, x = _make(_first(name)), _images(1, GREY)
    assert torch.equal(operator.physics.clone().A(x), operator.physics.A(x))


@every_case
def test_operators_leave_the_global_generator_alone(spec: str, shape: Shape) -> None:
    before = torch.get_rng_state()
    _make(spec, shape).parameters(0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", SPECS)
def test_inpainting_alone_suggests_l1(name: str) -> None:
    assert _make(_first(name)).fidelity == ("l1" if name == "inpaint" else "l2")


# Known answers: missing pixels.


def _known(spec: str, shape: Shape, index: int = 0) -> Tensor:
    """Which pixels of image `index` survive, (C, H, W)."""
    operator = _make(spec, shape)
    return operator.physics.A(torch.ones(1, *shape), **operator.parameters(index))[0]


@pytest.mark.parametrize(
    ("spec", "shape", "rows", "columns"),
    [
        ("inpaint:box=14", (1, 28, 28), slice(7, 21), slice(7, 21)),
        ("inpaint:box=3", (3, 12, 8), slice(4, 7), slice(2, 5)),
        ("inpaint:box=3,top=0", (1, 12, 8), slice(0, 3), slice(2, 5)),
        ("inpaint:box=3,top=9,left=5", (1, 12, 8), slice(9, 12), slice(5, 8)),
        ("inpaint:box=8", (1, 12, 8), slice(2, 10), slice(0, 8)),
        ("inpaint:half=lower", (1, 28, 28), slice(14, 28), slice(None)),
        ("inpaint:half=upper", (1, 28, 28), slice(0, 14), slice(None)),
        ("inpaint:half=left", (3, 28, 28), slice(None), slice(0, 14)),
        ("inpaint:half=right", (1, 28, 28), slice(None), slice(14, 28)),
        ("inpaint:half=lower", (1, 9, 9), slice(5, 9), slice(None)),
        ("inpaint:half=upper", (1, 9, 9), slice(0, 4), slice(None)),
    ],
)
def test_a_hole_is_where_it_should_be(spec: str, shape: Shape, rows: slice, columns: slice) -> None:
    expected = torch.ones(shape)
    expected[:, rows, columns] = 0
    assert torch.equal(_known(spec, shape), expected)


@pytest.mark.parametrize("share", [0.001, 0.25, 0.5, 0.999])
def test_random_pixels_are_the_share_in_all_channels_and_new_for_each_image(share: float) -> None:
    masks = [_known(f"inpaint:random={share}", (3, 16, 16), index) for index in range(3)]
    for mask in masks:
        assert int((mask[0] == 0).sum()) == min(max(round(share * 256), 1), 255)
        assert torch.equal(mask, mask[:1].expand(3, 16, 16))
    assert not torch.equal(masks[0], masks[1])


def test_random_pixels_are_spread_evenly() -> None:
    operator = _make("inpaint:random=0.3", (1, 6, 6))
    missing = 1 - stacked(operator, range(2000))["mask"].mean(0)
    assert float((missing - 11 / 36).abs().max()) < 5 * math.sqrt(0.3 * 0.7 / 2000)


def test_each_image_has_its_given_mask_or_all_have_the_one() -> None:
    masks = torch.rand(4, 1, 5, 6) < 0.5
    x = _images(4, (3, 5, 6))
    several, one = masked(masks, (3, 5, 6)), masked(masks[2:3], (3, 5, 6))
    assert torch.equal(measure(x, several, NOISES["none"](), seed=0), x * masks)
    assert torch.equal(measure(x[1:3], several, NOISES["none"](), seed=0, first=1), (x * masks)[1:3])
    assert torch.equal(measure(x, one, NOISES["none"](), seed=0), x * masks[2])
    assert torch.equal(stacked(several, [3, 0])["mask"], masks[[3, 0]].float())
    assert (stacked(one, [3, 0]), several.fidelity) == ({}, "l1")


def test_masks_may_differ_between_channels() -> None:
    masks = torch.rand(1, 3, 5, 6) < 0.5
    x = _images(2, (3, 5, 6))
    assert torch.equal(masked(masks, (3, 5, 6)).physics.A(x), x * masks)


# Known answers: fewer pixels, blur.


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 6, 12])
def test_a_pixel_becomes_the_mean_of_its_block(factor: int) -> None:
    x = _images(2, (3, 12, 24))
    expected = x.view(2, 3, 12 // factor, factor, 24 // factor, factor).mean((3, 5))
    torch.testing.assert_close(_make(f"downsample:factor={factor}", (3, 12, 24)).physics.A(x), expected)


def test_constants_and_checkerboards_downsample_to_constants() -> None:
    physics = _make("downsample:factor=2").physics
    board = (torch.arange(12)[:, None] + torch.arange(12)).remainder(2).float().expand(1, 1, 12, 12)
    torch.testing.assert_close(physics.A(torch.full((1, 1, 12, 12), 0.3)), torch.full((1, 1, 6, 6), 0.3))
    torch.testing.assert_close(physics.A(board), torch.full((1, 1, 6, 6), 0.5))


def _delta(side: int) -> Tensor:
    x = torch.zeros(1, 1, side, side)
    x[..., side // 2, side // 2] = 1
    return x


@pytest.mark.parametrize("sigma", [0.7, 1.0, 2.0, 3.5])
def test_a_gaussian_blur_of_a_point_is_a_gaussian(sigma: float) -> None:
    point = _make(f"blur:sigma={sigma}", (1, 41, 41)).physics.A(_delta(41))[0, 0].double()
    assert float(point.sum()) == pytest.approx(1, abs=1e-5)
    offset = torch.arange(41) - 20.0
    variance = float((point.sum(0) * offset**2).sum())
    assert variance == pytest.approx(float(sigma**2), rel=0.03)  # the tails beyond 3.3 sigma are cut
    ratio = float(point[20, 21] / point[20, 20])
    assert ratio == pytest.approx(math.exp(-1 / (2 * sigma**2)), rel=1e-4)


@pytest.mark.parametrize("spec", ["blur:sigma=2", "blur:motion=4,angle=20"])
def test_blur_keeps_size_and_constants_up_to_the_edge(spec: str) -> None:
    x = torch.full((2, 3, 12, 9), 0.4)
    torch.testing.assert_close(_make(spec, (3, 12, 9)).physics.A(x), x)


@pytest.mark.parametrize(
    ("spec", "rows", "columns", "value"),
    [
        ("motion=5", [10] * 5, [8, 9, 10, 11, 12], 1 / 5),
        ("motion=5,angle=90", [8, 9, 10, 11, 12], [10] * 5, 1 / 5),
        ("motion=5,angle=180", [10] * 5, [8, 9, 10, 11, 12], 1 / 5),
        ("motion=2", [10, 10, 10], [9, 10, 11], [0.25, 0.5, 0.25]),
    ],
)
def test_motion_draws_a_point_out_to_a_line(spec: str, rows: list[int], columns: list[int], value: object) -> None:
    expected = torch.zeros(21, 21)
    expected[rows, columns] = torch.as_tensor(value)
    torch.testing.assert_close(_make(f"blur:{spec}", (1, 21, 21)).physics.A(_delta(21))[0, 0], expected)


def test_the_angle_of_motion_is_counter_clockwise() -> None:
    point = _make("blur:motion=9,angle=45", (1, 21, 21)).physics.A(_delta(21))[0, 0]
    rising = sum(float(point[10 - i, 10 + i]) for i in range(-4, 5))
    falling = sum(float(point[10 + i, 10 + i]) for i in range(-4, 5))
    assert rising > 0.5 > 0.2 > falling
    assert float(point.sum()) == pytest.approx(1)


def test_compressed_sensing_has_variance_one_over_m_and_counts_colours_together() -> None:
    operator = compressed_sensing((3, 16, 16), seed=1, m=200)
    unit = torch.eye(768).view(768, 3, 16, 16)
    columns = operator.physics.A(unit)
    assert columns.shape == (768, 200)
    assert float(columns.mean()) == pytest.approx(0, abs=5 / math.sqrt(200 * 768 * 200))
    assert float(columns.var()) == pytest.approx(1 / 200, rel=5 * math.sqrt(2 / (768 * 200)))


# Kernels from files.


def _save_array(values: object, path: Path) -> Path:
    np.save(path, np.asarray(values))
    return path


@pytest.mark.parametrize("name", ["kernel.npy", "C:a=b kernel.npy"])
def test_an_array_is_a_kernel(tmp_path: Path, name: str) -> None:
    file = _save_array([[0, 2, 0], [4, 0, 0], [0, 0, 2]], tmp_path / name)
    point = _make(f"blur:file={file}", (1, 9, 9)).physics.A(_delta(9))[0, 0]
    torch.testing.assert_close(point[3:6, 3:6], torch.tensor([[0, 0.25, 0], [0.5, 0, 0], [0, 0, 0.25]]))
    assert float(point.sum()) == pytest.approx(1)


def test_a_picture_is_a_kernel(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 50, 0], [50, 100, 50], [0, 50, 0]], np.uint8)).save(tmp_path / "kernel.png")
    point = _make(f"blur:file={tmp_path / 'kernel.png'}", (1, 9, 9)).physics.A(_delta(9))[0, 0]
    expected = torch.tensor([[0, 1, 0], [1, 2, 1], [0, 1, 0]]) / 6
    torch.testing.assert_close(point[3:6, 3:6], expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (3, 1), (2, 2), (4, 6), (9, 9), (8, 1)])
def test_kernels_of_any_size_have_the_right_adjoint(tmp_path: Path, size: tuple[int, int]) -> None:
    file = _save_array(np.random.default_rng(0).random(size), tmp_path / "kernel.npy")
    physics = _make(f"blur:file={file}", (2, 9, 9)).physics.double()
    x, y = torch.randn(2, 2, 2, 9, 9, dtype=torch.float64)
    assert physics.A(x).shape == x.shape
    assert float((physics.A(x) * y).sum()) == pytest.approx(float((x * physics.A_adjoint(y)).sum()))
    assert float(physics.filter.sum()) == pytest.approx(1)


KERNELS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, r"cannot read the kernel .*kernel\.npy: .*No such file"),
    "damaged": (lambda path: path.write_bytes(b"\x93NUMPY nothing"), r"cannot read the kernel .*kernel\.npy: ."),
    "nothing": (lambda path: path.write_bytes(b""), r"cannot read the kernel .*kernel\.npy: ."),
    "pickled": (
        lambda path: np.save(path, np.array([{}])),
        r"cannot read the kernel .*kernel\.npy: it holds objects of Python",
    ),
    "empty": (lambda path: _save_array(np.zeros((0, 3)), path), r"2-D array of numbers, not empty, got shape \(0, 3\)"),
    "flat": (lambda path: _save_array([1, 2], path), r"must be a 2-D array of numbers, not empty, got shape \(2,\)"),
    "complex": (lambda path: _save_array([[1j]], path), r"must be a 2-D array of numbers.* of complex128$"),
    "zero": (lambda path: _save_array(np.zeros((3, 3)), path), r"is all zero, expected some value above 0$"),
    "negative": (lambda path: _save_array([[1, -1]], path), r"negative or not finite, expected numbers from 0 up$"),
    "nan": (lambda path: _save_array([[1, np.nan]], path), r"negative or not finite, expected numbers from 0 up$"),
    "large": (lambda path: _save_array(np.ones((3, 13)), path), r"has 3 x 13 pixels, more than the images' 12 x 12$"),
}


@pytest.mark.parametrize("case", KERNELS)
def test_a_kernel_that_cannot_be_used_is_refused(tmp_path: Path, case: str) -> None:
    write, message = KERNELS[case]
    file = tmp_path / "kernel.npy"
    write(file)
    _refuses(f"blur:file={file}", GREY, message)


def test_a_kernel_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kernel.png").write_text("nothing")
    _refuses(f"blur:file={tmp_path / 'kernel.png'}", GREY, r"cannot read the .*kernel\.png: not an image")


# Refusals.


def _refuses(spec: str, shape: Shape, message: str) -> None:
    with pytest.raises(GenpriorError, match=f"^operator: .*{message}") as caught:
        _make(spec, shape)
    assert caught.value.argument == "operator"
    assert "\n" not in str(caught.value)


ONE_OF_INPAINT = "'inpaint' takes exactly one of the options box, random and half, got "
ONE_OF_BLUR = "'blur' takes exactly one of the options sigma, motion and file, got "


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        ("inpant:box=3", GREY, r"unknown operator 'inpant', did you mean 'inpaint'\? Known: blur, "),
        ("inpaint:bx=3", GREY, r"unknown option 'bx' of 'inpaint', did you mean 'box'\? Known: box, "),
        ("inpaint:seed=3", GREY, r"unknown option 'seed' of 'inpaint', Known: "),
        ("denoise:sigma=3", GREY, r"unknown option 'sigma' of 'denoise', it has none$"),
        ("inpaint:box=wide", GREY, r"option 'box' of 'inpaint' must be a number, got 'wide'$"),
        ("inpaint", GREY, ONE_OF_INPAINT + "none$"),
        ("inpaint:top=3", GREY, ONE_OF_INPAINT + "none$"),
        ("inpaint:box=3,half=left", GREY, ONE_OF_INPAINT + "box and half$"),
        ("inpaint:half=left,top=3", GREY, r"options 'top' and 'left' of 'inpaint' go with 'box' alone$"),
        ("inpaint:random=0.5,left=0", GREY, r"options 'top' and 'left' of 'inpaint' go with 'box' alone$"),
        *(
            (f"inpaint:box={box}", GREY, rf"'box' .*\(images are 12 x 12 .* whole number from 1 to 11, got {got}$")
            for box, got in {"0": "0", "-1": "-1", "12": "12", "2.5": r"2\.5", "nan": "nan", "inf": "inf"}.items()
        ),
        ("inpaint:box=9", COLOUR, r"'box' .* from 1 to 8, got 9$"),
        ("inpaint:box=1", (1, 1, 1), r"'box' .* from 1 to 0, got 1$"),
        ("inpaint:box=3,top=10", GREY, r"'top' .* from 0 to 9, got 10$"),
        ("inpaint:box=3,left=-1", GREY, r"'left' .* from 0 to 9, got -1$"),
        *(
            (f"inpaint:random={share}", GREY, rf"'random' .* must be a share .*above 0 and below 1, got {share}$")
            for share in ("0", "1", "-0.5", "nan", "inf")
        ),
        ("inpaint:random=0.5", (3, 1, 1), r"'random' .* must be a share"),
        ("inpaint:half=low", GREY, r"'half' .* must be one of lower, upper, left, right, got 'low'$"),
        ("inpaint:half", GREY, r"'half' .* must be one of lower, upper, left, right, got ''$"),
        ("inpaint:half=upper", (1, 1, 8), r"mask without holes"),
        *(
            (f"downsample:factor={factor}", COLOUR, rf"must be one of 1, 2, 4 for images of 12 x 8 .*, got {factor}$")
            for factor in ("0", "3", "8", "-2", "2.5", "nan")
        ),
        ("blur", GREY, ONE_OF_BLUR + "none$"),
        ("blur:angle=20", GREY, ONE_OF_BLUR + "none$"),
        ("blur:sigma=2,motion=3", GREY, ONE_OF_BLUR + "sigma and motion$"),
        ("blur:sigma=2,angle=3", GREY, r"option 'angle' of 'blur' goes with 'motion' alone$"),
        *(
            (
                f"blur:sigma={sigma}",
                GREY,
                rf"must be from 0\.1 to below 3\.3 pixels for images of 12 x 12, got {sigma}$",
            )
            for sigma in ("0", "-1", "0.05", "3.3", "1000", "nan", "inf")
        ),
        *(
            (f"blur:motion={motion}", COLOUR, rf"'motion' .* whole number from 2 to 8, got {motion}$")
            for motion in ("1", "0", "-3", "9", "2.5", "nan")
        ),
        ("blur:motion=3,angle=nan", GREY, r"'angle' .* finite number of degrees, got nan$"),
        ("blur:sigma=1", (2, 1, 1), r"'blur' needs images of at least 3 x 3 pixels, got 1 x 1$"),
        *(
            (f"compressed-sensing:m={m}", COLOUR, rf"'m' .* whole number from 1 to 288, got {m}$")
            for m in ("0", "-1", "289", "2.5", "nan")
        ),
    ],
)
def test_options_out_of_range_are_refused_with_the_range(spec: str, shape: Shape, message: str) -> None:
    _refuses(spec, shape, message)


@pytest.mark.parametrize("sigma", [0.1, 2.09])
def test_sigma_may_reach_its_bounds(sigma: float) -> None:
    operator, x = _make(f"blur:sigma={sigma}", (1, 8, 8)), _images(1, (1, 8, 8))
    assert bool(operator.physics.A(x).isfinite().all())


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (torch.ones(2, 1, 12, 8, dtype=torch.bool), r"mask without holes: mask 0 of 2$"),
        (
            torch.stack([torch.eye(12, 8), torch.zeros(12, 8)])[:, None].bool(),
            r"mask without known pixels: mask 1 of 2$",
        ),
        (torch.eye(8)[None, None].bool(), r"masks are \(C, H, W\) = \(1, 8, 8\), images are \(3, 12, 8\)$"),
        (torch.ones(1, 2, 12, 8).bool(), r"masks are \(C, H, W\) = \(2, 12, 8\), images are \(3, 12, 8\)$"),
        (
            torch.eye(12, 8)[None, None],
            r"expected masks .* of booleans, True for known pixels, got \(1, 1, 12, 8\) of torch\.float32$",
        ),
        (torch.eye(12, 8).bool(), r"expected masks \(N, 1 or C, H, W\) .*, got \(12, 8\) of torch\.bool$"),
        (torch.ones(0, 1, 12, 8).bool(), r"expected masks .*, got \(0, 1, 12, 8\) of torch\.bool$"),
    ],
)
def test_masks_that_make_no_sense_are_refused(masks: Tensor, message: str) -> None:
    with pytest.raises(GenpriorError, match=f"^operator: {message}"):
        masked(masks, COLOUR)


def test_images_beyond_the_masks_are_refused() -> None:
    operator = masked(torch.rand(3, 1, 12, 8) < 0.5, COLOUR)
    with pytest.raises(GenpriorError, match=r"^operator: image 3 has no mask, there are 3 masks \(0 to 2\)$"):
        measure(_images(1, COLOUR), operator, NOISES["none"](), seed=0, first=3)


def test_an_operator_is_a_function_too() -> None:
    assert torch.equal(inpaint(GREY, box=3).physics.mask, _make("inpaint:box=3").physics.mask)
