"""GLO as runs: settings, going on, priors of whitened codes, inversion, and encoders."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import genprior
from genprior.data import load_data
from genprior.errors import GenpriorError
from genprior.families import parse_config
from genprior.families.glo import GLOConfig
from genprior.priors.densities import Mixture, StandardNormal, whitening
from genprior.priors.generator_prior import EncodedPrior, GeneratorPrior
from genprior.progress import result_of
from genprior.restoration.search_settings import SearchSettings
from genprior.runs.checkpoint import trained_checkpoint
from genprior.runs.encoder_settings import EncoderSettings
from genprior.runs.encoder_training import train_encoder
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run, resumed_run
from genprior.runs.run_folder import open_run
from genprior.runs.step_rows import read_rows
from genprior.runs.trained_prior import load_generator, load_prior
from genprior.training.reconstruction_losses import RECONSTRUCTION_LOSSES

SHAPE = (1, 8, 8)
State = dict[str, Tensor]


def _config(**changes: object) -> GLOConfig:
    settings = {"data": "digits[:64]", "held_out": 0, "size": 8, "latent_size": 6, "model": "dcgan:generator_width=8"}
    fixed = {"batch_size": 16, "images_seen": 16 * 60, "threads": 1, "precision": "float32"}
    quick = {"generator_learning_rate": 0.02, "code_learning_rate": 0.03, "average_half_life": 100}
    density = {"density": "mixture:components=3"}
    return GLOConfig.model_validate({**settings, **fixed, **quick, **density, **changes})


def _train(path: Path, **changes: object) -> Path:
    prepared = new_run(path, _config(**changes))
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that all tests read and none changes."""
    return _train(tmp_path_factory.mktemp("glo") / "run")


def _state(run: Path) -> State:
    return trained_checkpoint(open_run(run).checkpoints).tensors


def _assert_bit_equal(got: State, expected: State) -> None:
    assert got.keys() == expected.keys()
    assert not [name for name, value in expected.items() if not torch.equal(got[name], value)]


# Settings.


@pytest.mark.parametrize("preset", GLOConfig.PRESETS)
@pytest.mark.parametrize("loss", RECONSTRUCTION_LOSSES)
def test_every_preset_and_loss_builds_a_generator_for_its_size(preset: str, loss: str) -> None:
    config = parse_config({"family": "glo", "preset": preset, "loss": loss, "latent_size": 7, "precision": "float32"})
    assert isinstance(config, GLOConfig)
    config.check_names()
    glo = config.build(load_data("digits[:8]", size=config.size))
    assert glo.latent_size == 7
    assert glo.codes.values.shape == (8, 7)
    assert glo.loss is RECONSTRUCTION_LOSSES[loss]()
    assert config.title == f"{loss} GLO"


def test_settings_reach_the_algorithm() -> None:
    config = _config(generator_learning_rate=0.5, code_learning_rate=0.25, average_half_life=7, start="random", seed=4)
    data = config.load_data()
    glo, other = config.build(data), _config(start="random").build(data)
    assert (glo.codes.settings.learning_rate, glo._descent.settings.learning_rate) == (0.25, 0.5)
    assert (glo.average.half_life, glo.images_per_update) == (7, 16)
    torch.testing.assert_close(glo.codes.values.norm(dim=1), torch.ones(64))  # random ones lie on the sphere
    assert not torch.equal(glo.codes.values, other.codes.values)
    assert not torch.equal(next(glo.generator.parameters()), next(other.generator.parameters()))
    assert _config().build(data).codes.values.norm(dim=1).min() < 0.9  # principal components do not


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"loss": "laplacan"}, "^loss: unknown loss 'laplacan', did you mean 'laplacian'"),
        ({"loss": "l2:x=1"}, "^loss: unknown option 'x' of 'l2', it has none"),
        ({"start": "pcaa"}, "^start: unknown start 'pcaa', did you mean 'pca'"),
        ({"density": "mixtur"}, "^density: unknown density 'mixtur', did you mean 'mixture'"),
        ({"density": "gaussian:components=3"}, "^density: unknown option 'components' of 'gaussian', it has none"),
        ({"density": "mixture:components=0"}, "^density: option 'components' must be an integer from 1 to 8000, got 0"),
        ({"density": "mixture:components=x"}, "^density: option 'components' of 'mixture' must be a number, got 'x'"),
    ],
)
def test_bad_names_are_refused_before_and_while_building(changes: dict[str, str], expected: str) -> None:
    config = _config(**changes)
    with pytest.raises(GenpriorError, match=expected):
        config.check_names()
    with pytest.raises(GenpriorError, match=expected):
        config.build(load_data("digits[:20]", size=8))


def test_an_unknown_model_is_refused() -> None:
    config = _config(model="dcgam")
    with pytest.raises(GenpriorError, match=r"^model: unknown model 'dcgam', did you mean 'dcgan'"):
        config.build(config.load_data())


@pytest.mark.parametrize("model", ["dcgan", "mlp"])
def test_points_are_refused_whatever_the_model(model: str) -> None:
    config = _config(data="ring:count=50", size=None, model=model)
    with pytest.raises(GenpriorError, match=r"^data: GLO learns images, ring.* holds points"):
        config.build(config.load_data())


def test_codes_as_long_as_there_are_images_need_a_random_start() -> None:
    config = _config(latent_size=64)
    with pytest.raises(GenpriorError, match=r"^latent_size: principal components of 64 numbers need 65 images"):
        config.build(config.load_data())
    assert _config(latent_size=64, start="random").build(config.load_data()).codes.values.shape == (64, 64)


# Training and going on.


def test_the_curves_are_in_the_record_and_the_error_falls(run: Path) -> None:
    rows = read_rows(open_run(run).steps)
    keys = {key for curves in GLOConfig.CURVES.values() for key in curves.labels}
    assert keys <= rows[-1].keys()
    assert rows[-1]["reconstruction_error"] < 0.4 * rows[0]["reconstruction_error"]


@pytest.mark.parametrize("start", ["pca", "random"])
def test_stopping_and_resuming_changes_nothing(tmp_path: Path, start: str) -> None:
    whole = _train(tmp_path / "whole", start=start, images_seen=160)
    prepared = new_run(tmp_path / "parts", _config(start=start, images_seen=160))
    answers = iter([False] * 3 + [True])
    list(execute(prepared.run, prepared.learner, prepared.data, lambda: next(answers)))
    assert len(read_rows(prepared.run.steps)) == 4
    again = resumed_run(tmp_path / "parts", {})
    list(execute(again.run, again.learner, again.data))
    _assert_bit_equal(_state(tmp_path / "parts"), _state(whole))


# The prior.


def test_decoding_is_the_averaged_generator_of_whitened_codes(run: Path) -> None:
    state, config = _state(run), open_run(run).config
    mean, factor = whitening(state["codes"])
    generator = config._generator(SHAPE, 0).eval()
    generator.load_state_dict({k.removeprefix("average/"): v for k, v in state.items() if k.startswith("average/")})
    prior, w = load_prior(run), torch.randn(5, 6)
    with torch.no_grad():
        torch.testing.assert_close(prior.decode(w), generator(mean + w @ factor.T))


def test_the_codes_of_training_images_give_these_images_back(run: Path) -> None:
    glo = load_generator(open_run(run)).eval()
    x = load_data("digits[:64]", size=8).take(torch.arange(64))
    with torch.no_grad():
        found = glo(glo.whitening.inverse(_state(run)["codes"]))
    assert (found - x).square().mean() < 0.5 * (x - x.mean(0)).square().mean()


@pytest.mark.parametrize("average", [True, False])
def test_a_prior_has_the_weights_asked_for(run: Path, average: bool) -> None:
    state = _state(run)
    generator = open_run(run).config.generator(state, SHAPE, average).eval()
    part = "average/" if average else "generator/"
    own = {name.removeprefix(part): value for name, value in state.items() if name.startswith(part)}
    _assert_bit_equal(generator.generator.state_dict(), own)
    w = torch.randn(3, 6)
    torch.testing.assert_close(load_prior(run, average=average).decode(w), generator(w))


def test_a_run_is_a_generator(run: Path) -> None:
    generator = load_generator(open_run(run))
    assert (generator.latent_size, generator.image_shape, generator.output_range) == (6, SHAPE, (0.0, 1.0))


@pytest.mark.parametrize(("density", "kind"), [("gaussian", StandardNormal), ("mixture:components=2", Mixture)])
def test_the_density_is_fitted_to_the_whitened_codes(run: Path, density: str, kind: type) -> None:
    state = _state(run)
    prior = _config(density=density).prior(state, SHAPE, average=True)
    assert isinstance(prior, GeneratorPrior)
    assert isinstance(prior.density, kind)
    z = prior.start(20_000, torch.Generator().manual_seed(0))
    assert z.mean(0).abs().max() < 0.05  # the codes have mean 0 and covariance I, and so has what is fitted to them
    assert (z.T.cov() - torch.eye(6)).abs().max() < 0.1
    w = load_generator(open_run(run)).whitening.inverse(state["codes"])
    assert prior.energy(w).mean() < prior.energy(3 * w).mean()


def test_samples_depend_on_seed_and_number_alone(run: Path) -> None:
    prior = load_prior(run)
    x = prior.sample(5, seed=3)
    assert x.shape == (5, *SHAPE)
    assert (x.min() >= 0, x.max() <= 1) == (True, True)
    torch.testing.assert_close(prior.sample(2, seed=3), x[:2])
    everything = torch.cat([x, prior.sample(5, seed=4)]).flatten(1)
    assert (torch.cdist(everything, everything) + torch.eye(10)).min() > 1e-3


def test_loading_twice_gives_the_same_prior(run: Path) -> None:
    first, again = load_prior(run), load_prior(run)
    z = torch.randn(4, 6)
    assert torch.equal(first.decode(z), again.decode(z))
    assert torch.equal(first.energy(z), again.energy(z))
    assert torch.equal(first.sample(3), again.sample(3))


def test_one_by_one_equals_together(run: Path) -> None:
    prior, z = load_prior(run), torch.randn(5, 6)
    for what in (prior.decode, prior.energy):
        torch.testing.assert_close(what(z), torch.cat([what(row[None]) for row in z]))


def test_a_prior_of_double_precision_weights_is_in_float32(tmp_path: Path) -> None:
    prior = load_prior(_train(tmp_path / "run", precision="float64", images_seen=32))
    values = [v for network in prior.networks for v in network.state_dict().values() if v.is_floating_point()]
    assert {v.dtype for v in values} == {prior.sample(1).dtype} == {torch.float32}


def test_codes_of_another_length_are_not_loaded(run: Path) -> None:
    state = _state(run)
    with pytest.raises(RuntimeError, match="size mismatch"):
        _config(latent_size=5).prior(state, SHAPE, average=True)


def test_inversion_lowers_the_error_of_held_out_digits(run: Path) -> None:
    prior, x = load_prior(run), load_data("digits[64:72]", size=8).take(torch.arange(8))
    drawn = (prior.sample(64)[:, None] - x).square().flatten(2).mean(2)  # (64, 8)
    found = genprior.invert(prior, x, SearchSettings(starts=4)).images
    errors = (found - x).square().flatten(1).mean(1)
    assert (errors < drawn.min(0).values).all()
    middle = prior.decode(torch.zeros(1, 6))
    assert errors.mean() < 0.5 * (middle - x).square().mean()


def test_a_run_gets_an_encoder_and_keeps_its_density(tmp_path: Path) -> None:
    run = _train(tmp_path / "run")
    plain = load_prior(run)
    found = result_of(train_encoder(EncoderSettings(run=run, images_seen=128 * 30)))
    prior = load_prior(run)
    assert isinstance(prior, EncodedPrior)
    assert isinstance(prior.density, Mixture)
    assert torch.equal(prior.sample(2), plain.sample(2))
    x = load_data("digits[58:64]", size=8).take(torch.arange(6))  # what the encoder never saw, a tenth
    error, middle = ((prior.decode(z) - x).square().mean() for z in (prior.encode(x), torch.zeros(1, 6)))
    assert error < middle
    assert found.held_out_error == pytest.approx(float(error), rel=1e-3)
