"""A page that needs no server: it samples, goes between images and fills holes in a real browser, with no network."""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnxruntime
import pytest
import torch

from browser_page import Watched, browsed, given_runtime, served
from genprior.exporting import onnx_export
from genprior.exporting.export_commands import EXPERIMENTS
from genprior.exporting.export_results import EXPORT, PAGE, Export, ExportSettings
from genprior.exporting.onnx_export import parts_of, traced
from genprior.exporting.web_page import LIMITS, PageSettings, Way, page_of, page_settings
from genprior.exporting.web_runtime import INTEGRITY, WebRuntime
from genprior.families import FAMILIES
from genprior.folder_check import checked
from genprior.images import to_uint8, write_image
from genprior.progress import result_of
from genprior.runs.execute import execute
from genprior.runs.experiment import carry_out
from genprior.runs.prepare import new_run
from genprior.runs.trained_prior import load_prior
from genprior.stored_files import read_model

FAKE = WebRuntime(b"module", b"binary")
KINDS: dict[str, dict[str, Any]] = {  # ways to fill a hole; images in grey and in colour, square and oblong
    "encoder": {"family": "vae", "model": "conv:width=4", "latent_size": 4, "size": 8},
    "search": {
        "family": "gan",
        "model": "pyramid:generator_width=4,discriminator_width=4",
        "latent_size": 4,
        "size": "16x24",
        "channels": 3,
    },
    "denoiser": {
        "family": "flow-matching",
        "model": "unet:width=4,levels=2,blocks=1",
        "size": "24x16",
        "channels": 3,
    },
}
COMMON = {
    "data": "digits[:32]",
    "held_out": 0,
    "batch_size": 8,
    "images_seen": 24,
    "threads": 1,
    "precision": "float32",
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a run that fills holes in one of the ways, a few steps long; each is trained once."""
    made: dict[str, Path] = {}

    def make(kind: str, **changes: object) -> Path:
        name = f"{kind} {changes}"
        if name not in made:
            folder = tmp_path_factory.mktemp(kind) / "run"
            values = {**COMMON, **KINDS.get(kind, {"family": kind}), **changes}
            prepared = new_run(folder, FAMILIES[str(values["family"])].model_validate(values))
            result_of(execute(prepared.run, prepared.learner, prepared.data))
            made[name] = folder
        return made[name]

    return make


# Without a browser.


def test_each_way_has_words_on_the_page() -> None:
    assert set(LIMITS) == set(get_args(Way))
    assert all(len(lines) >= 3 for lines in LIMITS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_the_page_is_told_how_a_prior_fills_holes(kind: str, trained: Callable[..., Path]) -> None:
    prior = load_prior(trained(kind))
    settings, latents = page_settings(prior, tuple(parts_of(prior)))
    assert (settings.way, settings.shape, latents) == (kind, prior.image_shape, None)
    assert (
        settings.networks
        == {
            "encoder": ("generator", "encoder"),
            "search": ("generator",),
            "denoiser": ("denoiser",),
        }[kind]
    )
    for levels in (settings.sample_levels, *settings.fill_passes):
        assert list(levels) == sorted(levels, reverse=True)


def test_latents_that_are_not_normal_come_with_the_page(trained: Callable[..., Path]) -> None:
    prior = load_prior(trained("glo", model="dcgan:generator_width=4", latent_size=3, size=8))
    settings, latents = page_settings(prior, ("generator",))
    assert latents is not None
    assert latents.shape == (settings.drawn, 3)
    page = page_of("A GLO", "0" * 64, (settings, latents), {"generator": b"network"}, FAKE)
    stored = np.frombuffer(_block(page, "latents"), "<f4").reshape(-1, 3)
    np.testing.assert_array_equal(stored, latents.numpy())
    assert f"{settings.drawn} draws of it came with the page" in page


def _block(page: str, name: str) -> bytes:
    (text,) = re.findall(f'<script type="text/plain" id="{name}">(.*?)</script>', page)
    return gzip.decompress(base64.b64decode(text))


def test_the_page_holds_all_that_it_needs_and_may_load_nothing() -> None:
    settings = PageSettings(shape=(1, 8, 8), latent_size=2, way="search", networks=("generator",))
    told = (settings, None)
    page = page_of("<b>GAN</b>", "0" * 64, told, {"generator": b"a network", "other": b"not used"}, FAKE)
    assert page == page_of("<b>GAN</b>", "0" * 64, told, {"generator": b"a network"}, FAKE)
    blocks = {name: _block(page, name) for name in ("generator", "runtime", "runtime-binary")}
    assert blocks == {"generator": b"a network", "runtime": b"module", "runtime-binary": b"binary"}
    assert "<b>" not in page
    assert not re.search(r"<link (?!rel=\"icon\" href=\"data:,\")|<img|<iframe|\ssrc=|@import|url\(", page)
    policy = re.search('Content-Security-Policy" content="(.*?)"', page)
    assert policy
    allowed = policy[1].replace("&#39;", "'")
    assert "default-src 'none'" in allowed
    assert "connect-src 'none'" in allowed
    for tag in ('<script type="module">(.*?)</script>', "<style>(.*?)</style>"):
        (content,) = re.findall(tag, page, re.DOTALL)
        assert base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() in allowed


def test_the_page_is_exported_told_and_checked(
    trained: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "web_runtime", lambda given, root: FAKE)
    experiment, settings = EXPERIMENTS["export"], ExportSettings(run=trained("search"), to="web", out=tmp_path / "out")
    lines = experiment.lines(result_of(carry_out(experiment, settings)))
    assert {path.name for path in settings.folder.iterdir()} == {PAGE, EXPORT}
    found = read_model(settings.folder / EXPORT, Export, "run")
    assert found.page is not None
    assert found.page.runtime_integrity == INTEGRITY
    assert found.written() == {PAGE: hashlib.sha256((settings.folder / PAGE).read_bytes()).hexdigest()}
    assert [each.file for each in found.files] == ["generator.onnx"]
    assert lines[2].startswith(f"page: {settings.folder / PAGE}, ")
    title, files = checked(settings.folder)
    assert (title, [each.fault for each in files]) == ("an export", ["", ""])
    with (settings.folder / PAGE).open("ab") as file:
        file.write(b" ")
    assert [each.name for each in checked(settings.folder)[1] if each.fault] == [PAGE]
    result_of(carry_out(experiment, settings.model_copy(update={"to": "onnx"}), overwrite=True))
    assert {path.name for path in settings.folder.iterdir()} == {"generator.onnx", EXPORT}


def test_the_default_folder_names_what_it_is(tmp_path: Path) -> None:
    assert ExportSettings(run=tmp_path / "mine", to="web").folder == tmp_path / "mine-web"


# In a browser.


@pytest.fixture(scope="module")
def pages(trained: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Exports a run of one of the ways as a page, once, and returns the folder."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            out = tmp_path_factory.mktemp("pages") / kind
            settings = ExportSettings(run=trained(kind), to="web", out=out, runtime=given_runtime())
            result_of(carry_out(EXPERIMENTS["export"], settings))
            made[kind] = out
        return made[kind]

    return make


@pytest.mark.parametrize("way", KINDS)
@pytest.mark.parametrize("origin", ["disk", "server"])
def test_a_visitor_samples_goes_between_and_fills_a_hole(way: str, origin: str, pages: Callable[[str], Path]) -> None:
    given_runtime()
    folder = pages(way)
    if origin == "disk":
        with browsed((folder / PAGE).as_uri()) as watched:
            _visit(watched)
        return
    with served(folder) as address, browsed(f"{address}/{PAGE}") as watched:
        _visit(watched)


def _visit(watched: Watched) -> None:
    from playwright.sync_api import expect

    page = watched.page
    page.get_by_role("button", name="More").click()
    expect(page.locator("#samples canvas")).to_have_count(32)
    before = _pixels(watched, "#blended")
    page.get_by_label("Share of the way").fill("90")
    expect(page.locator("#blend-told")).to_contain_text("90 % of the way from image 1 to image 2")
    assert _pixels(watched, "#blended") != before
    page.get_by_role("button", name="Image 3: paint a hole into it").click()
    box = page.locator("#paint").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + box["width"] / 4, y, steps=4)
    page.mouse.up()
    expect(page.locator("#holes")).to_contain_text("The hole has")
    page.get_by_role("button", name="Fill", exact=True).click()
    expect(page.locator("#answers figure")).to_have_count(4)
    expect(page.locator("#filled")).to_contain_text("4 answers in")
    assert _kept(watched)
    assert watched.complaints == []
    network = [each for each in watched.requests if not each.startswith(("blob:", "data:"))]
    assert network == [page.url]


def _pixels(watched: Watched, canvas: str) -> list[int]:
    script = """c => {  // of a copy: Chromium warns of canvases that are read again and again
      const copy = new OffscreenCanvas(c.width, c.height).getContext("2d", {willReadFrequently: true});
      copy.drawImage(c, 0, 0);
      return [...copy.getImageData(0, 0, c.width, c.height).data];
    }"""
    found: list[int] = watched.page.locator(canvas).first.evaluate(script)
    return found


def _kept(watched: Watched) -> bool:
    """Whether all answers show the image where it was kept, and one differs from it in the hole."""
    known = watched.page.evaluate("[...genprior.known]")
    shown = [_pixels(watched, f"#answers figure:nth-child({i + 1}) canvas") for i in range(4)]
    given = _pixels(watched, "#samples button:nth-child(3) canvas")
    off = [[each[4 * i : 4 * i + 4] != given[4 * i : 4 * i + 4] for i in range(len(known))] for each in shown]
    is_kept = not any(answer[i] for answer in off for i in range(len(known)) if known[i])
    return is_kept and any(map(any, off)) and 0 < sum(known) < len(known)


@pytest.mark.parametrize("way", KINDS)
def test_numbers_in_the_page_are_those_of_onnxruntime(
    way: str, pages: Callable[[str], Path], trained: Callable[..., Path]
) -> None:
    given_runtime()
    prior = load_prior(trained(way))
    parts, names = parts_of(prior), read_model(pages(way) / EXPORT, Export, "run").page
    assert names is not None
    with browsed((pages(way) / PAGE).as_uri()) as watched:
        for name in names.networks:
            session = onnxruntime.InferenceSession(traced(parts[name], prior.networks))
            inputs = {key: value[:5].numpy() for key, value in parts[name].inputs.items()}
            (expected,) = session.run(None, inputs)
            feeds = {key: [[row.ravel().tolist() for row in x], list(x.shape[1:])] for key, x in inputs.items()}
            script = "async ([name, feeds]) => (await genprior.model.networks.run(name, feeds)).map(x => [...x])"
            found = watched.page.evaluate(script, [name, feeds])
            np.testing.assert_allclose(np.array(found).reshape(expected.shape), expected, atol=1e-4)


def test_draws_of_the_page_are_normal_and_always_the_same(pages: Callable[[str], Path]) -> None:
    given_runtime()
    script = "Array.from({length: 4000}, (_, i) => [...genprior.model.draw(i)])"
    with browsed((pages("search") / PAGE).as_uri()) as watched:
        z = np.array(watched.page.evaluate(script))
        again = np.array(watched.page.evaluate(script))
    np.testing.assert_array_equal(z, again)
    assert z.shape == (4000, 4)
    off = np.array(
        [z.mean(), (z**2).mean() - 1, (z**4).mean() - 3, (z[:-1] * z[1:]).mean(), (z[:, 0] * z[:, 1]).mean()]
    )
    assert (np.abs(off) < np.array([0.04, 0.05, 0.4, 0.04, 0.08])).all()


def test_the_search_goes_downhill(pages: Callable[[str], Path]) -> None:
    """The first answer misses what is known by less than its start, and the shape of the hole is kept."""
    given_runtime()
    script = """async () => {
      const {model, facts} = genprior, size = facts.shape.reduce((a, b) => a * b);
      const [image] = await model.images([model.draw(5)]);
      const known = new Float32Array(facts.shape[1] * facts.shape[2]).fill(1).fill(0, 0, 20);
      const places = [...image.keys()].filter(i => known[i % known.length] > 0);
      const miss = x => Math.sqrt(places.reduce((sum, i) => sum + (x[i] - image[i]) ** 2, 0) / places.length);
      const [begun] = await model.images([await model.start({image, known, places})]);
      return [miss(begun), ...(await model.fill(image, known, 4, 0)).map(miss)];
    }"""
    with browsed((pages("encoder") / PAGE).as_uri()) as watched:
        start, first, *others = watched.page.evaluate(script)
    assert first < start
    assert len(others) == 3


def test_the_keyboard_paints_and_a_picture_of_the_visitor_is_taken(
    pages: Callable[[str], Path], tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    given_runtime()
    values = torch.zeros(3, 32, 48)  # twice as large as the model's images; its middle is red
    values[0, :, 12:36] = 1
    write_image(to_uint8(values), tmp_path / "mine.png")
    with browsed((pages("search") / PAGE).as_uri(), width=400) as watched:
        page = watched.page
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        page.locator("#paint").focus()
        page.keyboard.press("Space")
        expect(page.locator("#holes")).to_contain_text("The hole has")
        first = page.evaluate("genprior.known.filter(value => !value).length")
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Shift+ArrowRight")
        assert page.evaluate("genprior.known.filter(value => !value).length") > first
        page.locator("#file").set_input_files(tmp_path / "mine.png")
        expect(page.locator("#chosen")).to_have_text("Your picture mine.png.")
        shown = np.array(_pixels(watched, "#paint")).reshape(page.locator("#paint").evaluate("c => c.height"), -1, 4)
        middle, corner = shown[shown.shape[0] // 2, shown.shape[1] // 2], shown[2, 2]
        assert middle[0] > 200
        assert corner[0] < 50
        assert "hole" in page.locator("#holes").inner_text()
        assert watched.complaints == []


def test_every_control_has_a_name_and_enough_contrast(pages: Callable[[str], Path]) -> None:
    given_runtime()
    script = """() => {
      const named = (e) => e.getAttribute("aria-label") || e.labels?.length || e.textContent.trim();
      const controls = [...document.querySelectorAll("button, input, canvas:not(button canvas)")];
      const wanting = controls.filter(e => !named(e));
      const channel = (v) => (v /= 255, v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
      const light = (text) => {
        const [r, g, b] = text.match(/[0-9.]+/g).map(Number);
        return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
      };
      const ground = (e) => {
        for (; e; e = e.parentElement) {
          const colour = getComputedStyle(e).backgroundColor;
          if (colour !== "rgba(0, 0, 0, 0)") return colour;
        }
      };
      const written = "h1, h2, p, label, li, button:not(:disabled), footer, summary, span";
      const ratios = [...document.querySelectorAll(written)]
        .filter(e => e.textContent.trim())
        .map(e => [light(getComputedStyle(e).color), light(ground(e))].sort((a, b) => b - a))
        .map(([a, b]) => (a + 0.05) / (b + 0.05));
      return [wanting.map(e => e.outerHTML), Math.min(...ratios), ratios.length];
    }"""
    with browsed((pages("search") / PAGE).as_uri()) as watched:
        for scheme in ("light", "dark"):
            watched.page.emulate_media(color_scheme=scheme)
            unnamed, least, count = watched.page.evaluate(script)
            assert unnamed == []
            assert least >= 4.5, scheme  # WCAG 2.2, AA
            assert count > 20


def test_what_the_page_says_is_json_whatever_stands_in_it() -> None:
    settings = PageSettings(shape=(1, 8, 8), latent_size=2, way="search", networks=("generator",))
    page = page_of("GAN", "0" * 64, (settings, None), {"generator": b""}, FAKE)
    (text,) = re.findall('<script type="application/json" id="facts">(.*?)</script>', page)
    assert json.loads(text)["networks"] == ["generator"]
