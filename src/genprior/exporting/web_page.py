"""A prior as one page that needs no server: networks, runtime, style and script stand in it. Knows priors and files.

The page may be opened from disk, where a browser loads nothing else. So whatever it needs is in it, compressed.
"""

import base64
import gzip
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from genprior.exporting.web_runtime import VERSION, WebRuntime
from genprior.priors.contracts import LatentPrior, latents_of
from genprior.priors.noise_steps import CHANGE, FINEST, spaced
from genprior.restoration.image_sampler import passes
from genprior.settings import Model

if TYPE_CHECKING:
    from jinja2 import Template

Way = Literal["denoiser", "encoder", "search"]

DRAWN = 512  # latents that come with the page of a prior whose latents are not standard normal
STRONGEST = 40.0  # noise of samples at first, in deviations of images
SAMPLE_LEVELS, FILL_LEVELS = 24, 12  # evaluations of a denoiser for an image
LOOKED_AT = 16  # samples whose mean and deviation are those of images
NEAR = 1e-3  # nats, within which an energy is that of a standard normal
CHANNELS = {1: "in grey", 3: "in colour", 4: "in colour, with transparency"}
COMMON = (
    "It knows one kind of image, the one that it was trained on. Of anything else it makes something of that kind.",
    "Fill shows your image with the hole filled by the model. The model's own image differs a little from yours around "
    "the hole, too, so a seam may show.",
)
NOT_NORMAL = (
    "This model's latents follow no normal distribution. New images are drawn from theirs. The search for a hole takes "
    "a normal one all the same, so what it calls plausible may not be."
)
LIMITS: dict[Way, tuple[str, ...]] = {
    "encoder": (
        "An encoder guesses latents from what you kept. Then the page tries changes of them and goes a few steps to "
        "where image and latents are most plausible together. The number of steps is fixed: it may stop short.",
        "The first answer is the most plausible one found. Noise is added for the others, so that they differ about as "
        "much as images that fit. All start at the same guess, so a second, quite different answer can be missed.",
        *COMMON,
        "A picture far from the model's images is met badly. “Off by” then exceeds 15 %: do not trust the filling.",
    ),
    "search": (
        "The model has no encoder. The search starts at the best of 64 random images, and goes a few steps to where "
        "image and latents are most plausible together. It often ends at an image that fits badly.",
        "The first answer is the most plausible one found. Noise is added for the others, so that they differ about as "
        "much as images that fit. All start at the same image, so a second, quite different answer can be missed.",
        *COMMON,
        "A picture far from the model's images is met badly. “Off by” then exceeds 15 %: do not trust the filling.",
    ),
    "denoiser": (
        "Noise is taken off step by step. After each step what you kept is put back, and the hole has to fit. The "
        "answers differ by their noise.",
        "Steps are few, and what you kept does not pull on the hole as it should. The draws of genprior restore are "
        "better, and their spread means something. Do not read probabilities from these answers.",
        *COMMON,
    ),
}


class PageSettings(Model):
    """What the page's script is told of a prior.

    Attributes:
        shape: (C, H, W).
        latent_size: k.
        way: How holes are filled: by a denoiser, or by a search of latents that an encoder starts, or draws.
        networks: Names of the files in the page.
        drawn: Latents that came with the page; 0: they are standard normal, and drawn there.
        mean: Of the values of images.
        change: Share of the second order of a step with a denoiser.
        sample_levels, fill_passes: Of noise, of a denoiser that draws, or that fills a hole.
    """

    shape: tuple[int, int, int]
    latent_size: int
    way: Way
    networks: tuple[str, ...]
    drawn: int = 0
    mean: float = 0.0
    change: float = CHANGE
    sample_levels: tuple[float, ...] = ()
    fill_passes: tuple[tuple[float, ...], ...] = ()


PageContent = tuple[PageSettings, Tensor | None]
"""What the page is told, and the latents (N, k) that come with it, where they are not standard normal."""


@torch.no_grad()
def page_settings(prior: LatentPrior, names: tuple[str, ...]) -> PageContent:
    """Returns what the page is told of a prior, and the latents that come with it.

    Arguments:
        prior: Of images.
        names: Of the networks that are exported of it.
    """
    shape, size = prior.image_shape, prior.latent_size
    if "denoiser" in names:
        x = prior.with_base(None).sample(LOOKED_AT)  # the page begins at white noise
        levels = tuple(spaced(STRONGEST * float(x.std()), FINEST, SAMPLE_LEVELS))
        return PageSettings(
            shape=shape,
            latent_size=size,
            way="denoiser",
            networks=("denoiser",),
            mean=float(x.mean()),
            sample_levels=levels,
            fill_passes=tuple(tuple(each) for each in passes(FILL_LEVELS)),
        ), None
    z = torch.cat(latents_of(prior.draw, DRAWN, 0))
    told = prior.energy(z) - 0.5 * z.square().sum(1)
    is_normal = bool((told - told[0]).abs().max() <= NEAR * (1 + prior.latent_size))
    way: Way = "encoder" if "encoder" in names else "search"
    drawn = 0 if is_normal else DRAWN
    settings = PageSettings(shape=shape, latent_size=size, way=way, networks=names, drawn=drawn)
    return settings, None if is_normal else z


def page_of(
    title: str,
    weights: str,
    told: PageContent,
    networks: Mapping[str, bytes],
    runtime: WebRuntime,
) -> str:
    """Returns the page as HTML; the same prior gives the same text.

    Arguments:
        title: What the prior is.
        weights: Checksum of its networks.
        told: What `page_settings` returned.
        networks: Files of ONNX by their names; those that the settings name are used.
        runtime: What runs them.
    """
    settings, latents = told
    blocks = {name: networks[name] for name in settings.networks}
    blocks |= {"runtime": runtime.module, "runtime-binary": runtime.binary}
    if latents is not None:
        blocks["latents"] = latents.contiguous().numpy().astype("<f4").tobytes()
    style, script = _text("web_page.css"), _text("web_prior.js") + _text("web_page.js")
    channels, height, width = settings.shape
    size = sum(len(networks[name]) for name in settings.networks)
    page = _template().render(
        title=title,
        weights=weights,
        style=style,
        script=script,
        policy=_policy(style, script),
        settings=settings.as_json().replace("<", "\\u003c"),
        blocks={name: _packed(content) for name, content in blocks.items()},
        drawn=settings.drawn,
        side=f"{height} x {width} pixels {CHANNELS[channels]}",
        facts=f"latents of {settings.latent_size} numbers, networks of {size / 1e6:.1f} MB",
        limits=LIMITS[settings.way] + ((NOT_NORMAL,) if settings.drawn else ()),
        version=VERSION,
        licence=_text("runtime_licence.txt"),
    )
    return page + "\n"


def _template() -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("genprior", "exporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("web_page.html.j2")


def _policy(style: str, script: str) -> str:
    """What a browser lets the page do: run this style and script, and the runtime that the script unpacks."""
    return (
        f"default-src 'none'; script-src {_hashed(script)} blob: 'wasm-unsafe-eval'; style-src {_hashed(style)}; "
        "img-src data:; connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def _text(name: str) -> str:
    return files("genprior.exporting").joinpath(name).read_text(encoding="utf-8")
