"""A prior as a reconstruction model of deepinv."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from genprior.models.mlp import MLPGenerator
from genprior.priors.generator_prior import GeneratorPrior
from genprior.restoration.fidelity import L2
from genprior.restoration.restore import PriorReconstructor, restore
from genprior.restoration.search_settings import SearchSettings

SHAPE, LATENTS = (1, 8, 8), 4
SETTINGS = SearchSettings(starts=2, iterations=20)


def _prior() -> GeneratorPrior:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        generator = MLPGenerator(SHAPE, LATENTS, 32, 2)
        for parameter in generator.parameters():
            parameter.data *= 2
        return GeneratorPrior(generator, LATENTS, SHAPE)


def _measured(count: int = 5):  # noqa: ANN202 - deepinv has no types
    from deepinv.physics import GaussianNoise, Inpainting

    mask = (torch.rand(1, 1, 8, 8) < 0.7).float()
    physics = Inpainting(img_size=SHAPE, mask=mask, noise_model=GaussianNoise(0.05))
    x = _prior().sample(count)
    return x, physics(x), physics


def test_it_restores_as_restore_does() -> None:
    _, y, physics = _measured()
    options = {"fidelity": L2(), "noise_level": 0.1, "seed": 3}
    model = PriorReconstructor(_prior(), SETTINGS, **options)
    assert isinstance(model, nn.Module)
    assert torch.equal(model(y, physics), restore(_prior(), y, physics, SETTINGS, **options).images)


def test_options_are_those_of_the_operator_by_default() -> None:
    _, y, physics = _measured()
    assert torch.equal(
        PriorReconstructor(_prior(), SETTINGS)(y, physics), restore(_prior(), y, physics, SETTINGS).images
    )
    default = PriorReconstructor(_prior())(y[:2], physics)
    assert torch.equal(default, restore(_prior(), y[:2], physics).images)


def test_it_works_where_gradients_are_off_and_in_either_mode() -> None:
    _, y, physics = _measured(2)
    model = PriorReconstructor(_prior(), SETTINGS)
    expected = model(y, physics)
    with torch.no_grad():
        assert torch.equal(model.eval()(y, physics), expected)
    assert torch.equal(model.train()(y, physics, update_parameters=True), expected)
    assert not expected.requires_grad


def test_it_works_in_inference_mode() -> None:
    _, y, physics = _measured(2)
    model = PriorReconstructor(_prior(), SETTINGS)
    expected = model(y, physics)
    with torch.inference_mode():
        torch.testing.assert_close(model(y, physics), expected)


def _by_hand(images: Tensor, x: Tensor) -> Tensor:
    return -10 * torch.log10((images - x).square().mean((1, 2, 3)))


class _Named(Dataset[dict[str, Tensor]]):
    """What deepinv wants of a data set from now on."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.x[index], "y": self.y[index]}


@pytest.mark.filterwarnings("ignore:non_blocking_transfers=True can only be used when device is cuda:UserWarning")
@pytest.mark.filterwarnings("ignore:The tuple format for dataset outputs is deprecated:DeprecationWarning")
@pytest.mark.parametrize("data", [TensorDataset, _Named], ids=["pairs", "named"])
@pytest.mark.parametrize(("count", "batch"), [(5, 5), (4, 2)])
def test_deepinv_tests_it_with_the_metric_that_one_gets_by_hand(data: type, count: int, batch: int) -> None:
    import deepinv

    x, y, physics = _measured(count)
    model = PriorReconstructor(_prior(), SETTINGS)
    results = deepinv.test(
        model,
        DataLoader(data(x, y), batch_size=batch),
        physics,
        metrics=[deepinv.loss.metric.PSNR()],
        show_progress_bar=False,
        verbose=False,
    )
    images = torch.cat([model(part, physics) for part in y.split(batch)])
    assert results["PSNR"] == pytest.approx(float(_by_hand(images, x).mean()), abs=1e-3)
    assert results["PSNR"] > 15
