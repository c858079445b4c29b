"""VAEs as runs: their settings, and the priors and generators that come of them."""

from pathlib import Path

import pytest
import torch

import genprior
from genprior.data import load_data
from genprior.errors import GenpriorError
from genprior.families import parse_config
from genprior.families.vae import VAEConfig
from genprior.models.autoencoder import VAES
from genprior.priors.generator_prior import EncodedPrior
from genprior.runs.execute import execute
from genprior.runs.prepare import new_run
from genprior.runs.run_folder import open_run
from genprior.runs.step_rows import read_rows
from genprior.runs.trained_prior import load_generator, load_prior
from genprior.training.loop import Budget, train

SHAPE = (1, 8, 8)
SMALL = {"dense": "dense:width=16", "conv": "conv:width=4"}
every_model = pytest.mark.parametrize("model", VAES)


def _config(**changes: object) -> VAEConfig:
    settings = {"data": "digits[:64]", "size": 8, "latent_size": 4, "model": SMALL["dense"], "batch_size": 8}
    fixed = {"images_seen": 48, "threads": 1, "precision": "float32"}
    return VAEConfig.model_validate({**settings, **fixed, **changes})


def _state(config: VAEConfig) -> dict[str, torch.Tensor]:
    data = config.load_data()
    vae = config.build(data)
    for _ in train(vae, data, Budget(images=48)):
        pass
    return vae.state_dict()


@pytest.fixture(params=VAES)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    prepared = new_run(tmp_path / "run", _config(model=SMALL[request.param]))
    for _ in execute(prepared.run, prepared.learner, prepared.data):
        pass
    return tmp_path / "run"


@pytest.mark.parametrize("preset", VAEConfig.PRESETS)
def test_every_preset_builds_networks_for_its_size(preset: str) -> None:
    config = parse_config({"family": "vae", "preset": preset, "precision": "float32"})
    assert isinstance(config, VAEConfig)
    config.check_names()
    vae = config.build(load_data("digits[:8]", size=config.size))
    assert vae.decoder.latent_size == config.latent_size
    assert set(vae.parameter_counts()) == {"encoder", "decoder"}


def test_settings_reach_the_algorithm() -> None:
    config = _config(kl_warm_up=0.25, learning_rate=0.5, beta1=0.1, beta2=0.2, likelihood="gaussian:sigma=0.7")
    vae = config.build(config.load_data())
    assert (vae.kl_warm_up, vae.images_per_update) == (0.25, 8)
    adam = vae._descent.settings
    assert (adam.learning_rate, adam.beta1, adam.beta2) == (0.5, 0.1, 0.2)
    assert vars(vae.likelihood) == {"sigma": 0.7}


def test_the_curves_are_in_the_record(run: Path) -> None:
    row = read_rows(open_run(run).steps)[-1]
    keys = {key for curves in VAEConfig.CURVES.values() for key in curves.labels}
    assert keys <= row.keys()


def test_a_run_is_a_prior_with_a_way_back(run: Path) -> None:
    prior = load_prior(run)
    assert isinstance(prior, EncodedPrior)
    x = load_data("digits[:5]", size=8).take(torch.arange(5))
    assert prior.sample(3).shape == (3, *SHAPE)
    assert prior.encode(x).shape == (5, 4)
    known = torch.ones(1, 1, 8, 8)
    known[..., :3] = 0
    torch.testing.assert_close(prior.encode(x, known), prior.encode(x * known))
    found = genprior.invert(prior, x).images
    assert (found - x).square().mean() <= (prior.decode(prior.encode(x)) - x).square().mean() + 1e-6


def test_a_run_is_a_generator(run: Path) -> None:
    generator = load_generator(open_run(run)).eval()
    assert (generator.latent_size, generator.image_shape, generator.output_range) == (4, SHAPE, (0.0, 1.0))
    z = torch.randn(3, 4)
    torch.testing.assert_close(generator(z), load_prior(run).decode(z))


@every_model
@pytest.mark.parametrize("average", [True, False])
def test_a_prior_has_the_weights_asked_for(model: str, average: bool) -> None:
    config = _config(model=SMALL[model])
    state = _state(config)
    prior = config.prior(state, SHAPE, average)
    assert isinstance(prior, EncodedPrior)
    part = "average_decoder/" if average else "decoder/"
    own = {name.removeprefix(part): value for name, value in state.items() if name.startswith(part)}
    decoder = config.generator(state, SHAPE, average).eval()
    for name, value in decoder.state_dict().items():
        assert torch.equal(value, own[name]), name
    z = torch.randn(3, 4)
    torch.testing.assert_close(prior.decode(z), decoder(z))
    part = "average_encoder/" if average else "encoder/"
    assert torch.equal(prior.encoder.head.weight, state[f"{part}head.weight"])


def test_a_prior_of_double_precision_weights_is_in_float32() -> None:
    config = _config(precision="float64")
    prior = config.prior(_state(config), SHAPE, average=True)
    assert isinstance(prior, EncodedPrior)
    assert {p.dtype for network in prior.networks for p in network.parameters()} == {torch.float32}


def test_points_are_refused_whatever_the_model() -> None:
    for model in VAES:
        config = _config(data="ring:count=50", size=None, model=model)
        with pytest.raises(GenpriorError, match=r"^data: ring.* holds points, .* take the family gan$"):
            config.build(config.load_data())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"likelihood": "gausian"}, "^likelihood: unknown likelihood 'gausian', did you mean 'gaussian'"),
        ({"likelihood": "gaussian:sigma=0"}, "^likelihood: option 'sigma' must be greater than 0, got 0"),
        ({"likelihood": "bernoulli:sigma=1"}, "^likelihood: unknown option 'sigma' of 'bernoulli'"),
    ],
)
def test_bad_likelihoods_are_refused(changes: dict[str, str], expected: str) -> None:
    with pytest.raises(GenpriorError, match=expected):
        _config(**changes).check_names()


def test_an_unknown_model_is_refused() -> None:
    config = _config(model="dens")
    with pytest.raises(GenpriorError, match=r"^model: unknown model 'dens', did you mean 'dense'"):
        config.build(config.load_data())
