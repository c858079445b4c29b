"""Pages set from small pictures of letters, and a prior of crops that restores whole pages beside tuned TV.

    python benchmarks/letter_pages.py set LETTERS FOLDER [--pages 200] [--seed 0]
    python benchmarks/letter_pages.py measure RUN LEARNED TEST [--pages 4] [--draws 4] [--pictures FOLDER]

LETTERS is a .npz file with `images` (N, 32, 32), white on black, or `matplotlib` for capitals of the typefaces that
come with it. A page is 560 pixels high and 280 wide: dark letters on white,
in words of two to eight, each letter as wide as its ink, each line of another size of 20 to 32 pixels.

Train on crops of some pages, and measure on pages of other typefaces:

    python benchmarks/letter_pages.py set letters32-train.npz pages/learned
    python benchmarks/letter_pages.py set letters32-test.npz pages/test --pages 20
    genprior train flow-matching --preset flow-64 --data pages/learned --fit crops --size 64 --minutes 15 \\
        --out runs/pages
    python benchmarks/letter_pages.py measure runs/pages pages/learned pages/test

Damage: Gaussian noise of 0.1 and 0.3; stains, six blots of 12 to 20 pixels radius whose pixels are missing, and noise
of 0.02. Total variation has its weight tuned on strips of two learned pages. All know the noise. Standard errors are
over pages.
"""

import string
import time
from pathlib import Path

import numpy as np
import torch
from measuring import parser_of
from numpy.typing import NDArray
from PIL import Image
from restoring_methods import Case, exact_total_variation, restored, tuned
from torch import Tensor

import genprior
from genprior.evaluation.image_quality import psnr
from genprior.restoration.operators import Operator, denoise, masked
from genprior.restoration.search_settings import SEARCHES, SearchSettings

HEIGHT, WIDTH, MARGIN = 560, 280, 12
WEIGHTS = (0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.2, 0.3, 0.4)
TUNED_ON, STRIP = 2, 140  # pages, rows of each
STAINS, RADII = 6, (12, 20)


def glyph(letter: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Returns a letter scaled to `size` pixels, cut to the width of its ink."""
    scaled = np.asarray(Image.fromarray(letter).resize((size, size), Image.Resampling.BILINEAR))
    columns = np.flatnonzero(scaled.max(0) > 32)
    return scaled[:, columns[0] : columns[-1] + 1] if len(columns) else scaled[:, :1]


def page(letters: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Returns a page (560, 280), uint8, dark on white."""
    ink = np.zeros((HEIGHT, WIDTH), np.uint8)
    top = MARGIN
    while True:
        size = int(random.integers(20, 33))
        if top + size > HEIGHT - MARGIN:
            return 255 - ink
        left, rest = MARGIN, int(random.integers(2, 9))
        while True:
            found = glyph(letters[random.integers(len(letters))], size)
            if left + found.shape[1] > WIDTH - MARGIN:
                break
            place = ink[top : top + size, left : left + found.shape[1]]
            np.maximum(place, found, out=place)
            rest -= 1
            left += found.shape[1] + (2 if rest else size // 2)
            rest = rest or int(random.integers(2, 9))
        top += size + int(random.integers(2, 8))


def letters_of(name: str) -> NDArray[np.uint8]:
    """Returns letters (N, 32, 32), uint8, white on black."""
    if name != "matplotlib":
        found: NDArray[np.uint8] = np.load(name)["images"]
        return found
    import matplotlib
    from PIL import ImageDraw, ImageFont

    faces = sorted((Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("DejaVuS*.ttf"))
    drawn = []
    for face in faces:
        for letter in string.ascii_uppercase:
            picture = Image.new("L", (32, 32))
            font = ImageFont.truetype(face, 26)
            ImageDraw.Draw(picture).text((16, 16), letter, fill=255, font=font, anchor="mm")
            drawn.append(np.asarray(picture))
    return np.stack(drawn)


def set_pages(letters: str, folder: Path, count: int, seed: int) -> None:
    """Writes pages as pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    images = letters_of(letters)
    for i in range(count):
        Image.fromarray(page(images, np.random.default_rng([seed, i]))).save(folder / f"{i:04d}.png")


def pages_in(folder: Path, count: int) -> Tensor:
    """Returns pages (N, 1, 560, 280)."""
    files = sorted(folder.glob("*.png"))[:count]
    return torch.stack([torch.from_numpy(np.array(Image.open(file)))[None] / 255 for file in files])


def stained(count: int, height: int, seed: int = 0) -> Operator:
    """Returns the operator whose stains hide parts of pages of a height, other ones for each page."""
    random, (low, high) = np.random.default_rng(seed), RADII
    rows, columns = np.mgrid[:height, :WIDTH]
    known = np.ones((count, 1, height, WIDTH), bool)
    for mask in known[:, 0]:
        for _ in range(max(1, round(STAINS * height / HEIGHT))):
            y, x, radius = random.integers(height), random.integers(WIDTH), random.integers(low, high + 1)
            wave = 1 + 0.2 * np.sin(3 * np.arctan2(rows - y, columns - x) + random.random() * 6)
            mask &= np.hypot(rows - y, columns - x) > radius * wave
    return masked(torch.from_numpy(known), (1, height, WIDTH))


def cases(x: Tensor, first: int) -> dict[str, Case]:
    """Returns the kinds of damage on pages, by name."""
    height = x.shape[2]
    plain = denoise((1, height, WIDTH))
    return {
        "denoise 0.1": Case(plain, 0.1, x, first),
        "denoise 0.3": Case(plain, 0.3, x, first),
        "stains, noise 0.02": Case(stained(first + len(x), height), 0.02, x, first),
    }


def measure(run: Path, learned: Path, test: Path, count: int, draws: int, pictures: Path | None) -> None:
    """Prints PSNR of a prior and of total variation on each kind of damage, and writes pictures of the first page."""
    prior = genprior.load_prior(run)
    x, others = pages_in(test, count), pages_in(learned, TUNED_ON)[:, :, :STRIP]
    tuning = cases(others, count)
    for name, case in cases(x, 0).items():
        weight = tuned(exact_total_variation, WEIGHTS, tuning[name])
        settings = SEARCHES["default"] if name.startswith("denoise") else SearchSettings(draws=draws)
        rows = {}
        for method in ("total variation", "prior"):
            began = time.perf_counter()
            is_ours = method == "prior"
            rows[method] = restored(prior, case, settings) if is_ours else exact_total_variation(case, weight)
            told(name, method, rows[method], case, time.perf_counter() - began)
        if pictures is not None:
            shown = [case.y[0], rows["total variation"][0], rows["prior"][0], x[0]]
            strip = torch.cat([each[:, :280].clamp(0, 1) for each in shown], 2)[0]
            pictures.mkdir(parents=True, exist_ok=True)
            Image.fromarray((255 * strip).round().byte().numpy()).save(pictures / f"{name.replace(' ', '-')}.png")


def told(name: str, method: str, found: Tensor, case: Case, seconds: float) -> None:
    """Prints a row; of stains also the error of what was hidden alone."""
    each = psnr(found.clamp(0, 1), case.x)
    line = f"{name:20} {method:16} {each.mean():.2f} +- {each.std() / len(each) ** 0.5:.2f} dB"
    if "mask" in case.parameters:
        hidden = case.parameters["mask"] == 0
        error = ((found - case.x).square() * hidden).flatten(1).sum(1) / hidden.flatten(1).sum(1)
        inside = -10 * error.log10()
        line += f", hidden pixels {inside.mean():.2f} +- {inside.std() / len(inside) ** 0.5:.2f} dB"
    print(f"{line}, {seconds / len(case.x):.2f} s a page", flush=True)


def main() -> None:
    parser = parser_of(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    setting = commands.add_parser("set")
    setting.add_argument("letters")
    setting.add_argument("folder", type=Path)
    setting.add_argument("--pages", type=int, default=200)
    setting.add_argument("--seed", type=int, default=0)
    measuring = commands.add_parser("measure")
    for name in ("run", "learned", "test"):
        measuring.add_argument(name, type=Path)
    measuring.add_argument("--pages", type=int, default=4)
    measuring.add_argument("--draws", type=int, default=4)
    measuring.add_argument("--pictures", type=Path)
    options = parser.parse_args()
    if options.command == "set":
        set_pages(options.letters, options.folder, options.pages, options.seed)
        return
    measure(options.run, options.learned, options.test, options.pages, options.draws, options.pictures)


if __name__ == "__main__":
    main()
