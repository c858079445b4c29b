"""`genprior sample`: single pictures, latents of a file, rows between latents, truncation."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from genprior.images import read_image, to_float
from genprior.priors.contracts import SAMPLES_AT_ONCE
from genprior.priors.generator_prior import GeneratorPrior
from genprior.priors.latent_walks import rows_between
from genprior.runs.trained_prior import load_prior
from tiny_run import make_tiny_run

Command = Callable[..., str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_run(tmp_path_factory.mktemp("runs") / "tiny")


def samples(genprior: Command, run: Path, *flags: object) -> torch.Tensor:
    genprior("sample", run, *flags, "--out", "x.npy", "--overwrite")
    return torch.from_numpy(np.load("x.npy"))


def test_each_sample_is_a_picture(genprior: Command, run: Path) -> None:
    assert "5 samples: folder" in genprior("sample", run, "-n", 5, "--each", "--out", "folder")
    assert sorted(path.name for path in Path("folder").iterdir()) == [f"{i:06d}.png" for i in range(5)]
    expected = samples(genprior, run, "-n", 5)
    for i, x in enumerate(expected):
        torch.testing.assert_close(to_float(read_image(Path("folder", f"{i:06d}.png"))), x, rtol=0, atol=0.51 / 255)
    Path("folder", "mine.txt").write_text("mine")
    text = genprior("sample", run, "--each", "--out", "folder", code=2)
    assert "--out: folder exists and is not empty; write into it with --overwrite" in text
    genprior("sample", run, "-n", 2, "--each", "--out", "folder", "--overwrite")
    assert sorted(path.name for path in Path("folder").iterdir()) == ["000000.png", "000001.png", "mine.txt"]


def test_names_have_defaults(genprior: Command, run: Path) -> None:
    genprior("sample", run, "-n", 1)
    genprior("sample", run, "-n", 1, "--each")
    assert Path("samples.png").is_file()
    assert Path("samples", "000000.png").is_file()


@pytest.mark.parametrize("kind", ["npy", "float64.npy", "one.safetensors", "named.safetensors"])
def test_latents_of_a_file_are_decoded(genprior: Command, run: Path, kind: str) -> None:
    z, path = torch.randn(3, 4), Path(f"z.{kind}")
    if kind.endswith("npy"):
        np.save(path, z.double().numpy() if "64" in kind else z.numpy())
    else:
        save_file({"latents": z, "numbers": torch.arange(3)} if "named" in kind else {"a": z}, path)
    expected = load_prior(run).decode(z)
    torch.testing.assert_close(samples(genprior, run, "--latents", path), expected)


def test_what_invert_writes_is_decoded(genprior: Command, run: Path) -> None:
    genprior("sample", run, "-n", 2, "--each", "--out", "photos")
    genprior("invert", run, "photos", "--starts", 1, "--iterations", 2, "--out", "out")
    x = samples(genprior, run, "--latents", "out/latents.safetensors")
    restored = [to_float(read_image(Path("out/images", f"{i:06d}.png"))) for i in range(2)]
    torch.testing.assert_close(x, torch.stack(restored), rtol=0, atol=0.51 / 255)


def test_rows_lead_from_one_latent_to_the_next(genprior: Command, run: Path) -> None:
    z = torch.randn(3, 4)
    np.save("z.npy", z.numpy())
    rows = samples(genprior, run, "--latents", "z.npy", "--interpolate").view(2, 8, 1, 8, 8)
    ends = load_prior(run).decode(z)
    torch.testing.assert_close(rows[:, 0], ends[:-1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rows[:, -1], ends[1:], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(samples(genprior, run, "--interpolate", "-n", 2)[::8], samples(genprior, run, "-n", 2))
    genprior("sample", run, "--interpolate", "-n", 2, "--out", "rows.png")
    with Image.open("rows.png") as picture:
        assert picture.width > 3 * picture.height


def test_truncation_scales_the_latents(genprior: Command, run: Path) -> None:
    np.save("z.npy", torch.randn(2, 4).numpy())
    half = samples(genprior, run, "--latents", "z.npy", "--truncation", 0.5)
    np.save("z.npy", 0.5 * np.load("z.npy"))
    torch.testing.assert_close(half, samples(genprior, run, "--latents", "z.npy"))


BAD = {
    "nothing": (["--latents", "z.npy"], "--latents: cannot read z.npy as latents: No such file"),
    "another size": (
        ["--latents", "size.npy"],
        r"--latents: size.npy: expected floats .N, 4., the latents of this run",
    ),
    "another kind": (["--latents", "z.txt"], "--latents: expected a file that ends in .npy or .safetensors"),
    "not finite": (["--latents", "nan.npy"], "--latents: nan.npy: 8 of 8 values are not finite"),
    "integers": (["--latents", "int.npy"], "--latents: int.npy: expected floats"),
    "damaged": (["--latents", "bad.safetensors"], "--latents: cannot read bad.safetensors as latents"),
    "several": (["--latents", "two.safetensors"], "expected a tensor named latents, or one alone, got a, b"),
    "count": (["--latents", "one.npy", "-n", "3"], "--count: goes without --latents"),
    "one latent": (["--latents", "one.npy", "--interpolate"], "--interpolate: leads from one latent to the next"),
    "no truncation": (["--truncation", "0"], "--truncation: input should be greater than 0"),
    "more than all": (["--truncation", "1.5"], "--truncation: input should be less than or equal to 1"),
    "count of a map": (["--around", "-n", "3"], "--count: goes without --around"),
    "map and rows": (["--around", "--interpolate"], "--around: goes without --interpolate"),
    "an even side": (["--around", "--side", "4"], "--side: expected an odd number"),
    "a step without a map": (["--step", "0.1"], "--step: is about a map: add --around"),
    "beyond the file": (["--latents", "one.npy", "--first", "1"], "--first: one.npy has latents from 0 to 0, got 1"),
    "nearest of each": (["--nearest", "1", "--each"], "--nearest: goes with one picture, without --each"),
    "nearest as numbers": (["--nearest", "1", "--out", "new.npy"], "--out: expected a name that ends in .png"),
    "latents as a picture": (["--save-latents", "z.png"], "--save-latents: expected a name that ends in .npy"),
    "latents that are there": (["--save-latents", "one.npy"], "--save-latents: one.npy exists"),
    "a file": (["--each", "--out", "one.npy"], "--out: one.npy is a file; name a folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(genprior: Command, run: Path, case: str) -> None:
    flags, message = BAD[case]
    arrays = {"size": np.zeros((2, 5), np.float32), "nan": np.full((2, 4), np.nan, np.float32)}
    arrays |= {"int": np.zeros((2, 4), int), "one": np.zeros((1, 4), np.float32)}
    for name, values in arrays.items():
        np.save(f"{name}.npy", values)
    Path("bad.safetensors").write_bytes(b"text")
    save_file({"a": torch.zeros(2, 4), "b": torch.zeros(2, 4)}, Path("two.safetensors"))
    text = genprior("sample", run, *flags, code=2)
    assert text.count("\n") == 1
    assert re.search(message, text), text


@pytest.mark.parametrize("size", [2, 20, 128])
def test_between_normal_latents_the_length_stays_typical(size: int) -> None:
    z = torch.nn.functional.normalize(torch.randn(4, size), dim=1) * size**0.5
    rows = rows_between(z, 9)
    torch.testing.assert_close(rows.norm(dim=1), torch.full((27,), size**0.5))
    steps = rows.view(3, 9, size).diff(dim=1).norm(dim=2)
    torch.testing.assert_close(steps, steps[:, :1].expand_as(steps), rtol=1e-3, atol=1e-3)


def test_equal_and_opposite_latents_are_joined_by_a_line() -> None:
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    assert torch.isfinite(rows_between(z, 5)).all()
    assert torch.equal(rows_between(z, 5)[:5], z[:1].expand(5, 2))


def test_many_samples_are_never_held_at_once(run: Path, genprior: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    count, sizes, real = 2 * SAMPLES_AT_ONCE + 3, [], GeneratorPrior.decode

    def watched(prior: GeneratorPrior, z: torch.Tensor) -> torch.Tensor:
        sizes.append(len(z))
        return real(prior, z)

    monkeypatch.setattr(GeneratorPrior, "decode", watched)
    found = samples(genprior, run, "-n", count, "--seed", 4)
    assert sizes == [SAMPLES_AT_ONCE, SAMPLES_AT_ONCE, 3]
    assert torch.equal(found, load_prior(run).sample(count, seed=4).clamp(0, 1))


def test_samples_may_begin_at_any_number(genprior: Command, run: Path) -> None:
    torch.testing.assert_close(samples(genprior, run, "-n", 2, "--first", 3), samples(genprior, run, "-n", 5)[3:])
    np.save("z.npy", torch.randn(4, 4).numpy())
    whole = samples(genprior, run, "--latents", "z.npy")
    torch.testing.assert_close(samples(genprior, run, "--latents", "z.npy", "--first", 3), whole[3:])


def test_a_map_has_the_sample_in_its_middle_and_goes_on_from_any_picture(genprior: Command, run: Path) -> None:
    x = samples(genprior, run, "--around", "--first", 3, "--side", 3, "--step", 0.02, "--save-latents", "map.npy")
    assert x.shape == (9, 1, 8, 8)
    torch.testing.assert_close(x[4:5], samples(genprior, run, "-n", 1, "--first", 3))
    torch.testing.assert_close(samples(genprior, run, "--latents", "map.npy"), x)
    further = samples(genprior, run, "--around", "--latents", "map.npy", "--first", 8, "--side", 3)
    torch.testing.assert_close(further[4], x[8], rtol=1e-4, atol=1e-5)
    genprior("sample", run, "--around", "--out", "map.png")
    with Image.open("map.png") as picture:
        assert picture.width == picture.height


def test_latents_that_are_kept_decode_to_the_samples(genprior: Command, run: Path) -> None:
    x = samples(genprior, run, "-n", 3, "--truncation", 0.5, "--save-latents", "z.npy")
    torch.testing.assert_close(samples(genprior, run, "-n", 3, "--truncation", 0.5), x)
    torch.testing.assert_close(samples(genprior, run, "--latents", "z.npy"), x)


def test_training_images_stand_beside_samples(genprior: Command, run: Path) -> None:
    text = genprior("sample", run, "-n", 2, "--nearest", 3, "--out", "near.png")
    assert len(re.findall(r"^[01]: 0\.\d{3} from image \d+, 0\.\d{3} .*; closeness 0\.\d\d$", text, re.MULTILINE)) == 2
    assert "Distances are root mean squared differences of pixels" in text
    with Image.open("near.png") as picture:
        assert picture.width == pytest.approx(2 * picture.height, rel=0.05)
    assert re.search(
        r"^4: .*\n5: ", genprior("sample", run, "-n", 2, "--first", 4, "--nearest", 1, "--out", "on.png"), re.M
    )
    assert "and 4 more" in genprior("sample", run, "-n", 20, "--nearest", 1, "--out", "many.png")


def test_latents_do_not_replace_the_samples_that_they_are_of(genprior: Command, run: Path) -> None:
    text = genprior("sample", run, "-n", 3, "--save-latents", "./same.npy", "--out", "same.npy", code=2)
    assert "--save-latents: same.npy is where the pictures go" in text
    assert not Path("same.npy").exists()
