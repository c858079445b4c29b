"""What is sampled, for every family, grey and oblong colour."""

from pathlib import Path

import pytest
import torch

from family_runs import GREY, OBLONG, SMALL, make_family_run
from genprior.sampling.drawn_samples import draw_samples, prior_to_sample
from genprior.sampling.nearest_images import learned_images, nearest_images
from genprior.sampling.sample_settings import SampleSettings


@pytest.mark.parametrize("shape", [GREY, OBLONG], ids=["grey", "oblong"])
@pytest.mark.parametrize("family", SMALL)
def test_every_family_has_maps_rows_and_nearest_images(
    tmp_path: Path, family: str, shape: tuple[int, int, int]
) -> None:
    run = make_family_run(tmp_path / family, family, shape)
    around = SampleSettings(run=run, around=True, side=3, first=2)
    prior = prior_to_sample(around)
    drawn = draw_samples(around, prior)
    x = torch.cat(list(drawn.parts))
    assert drawn.latents is not None
    assert (drawn.count, drawn.columns, x.shape) == (9, 3, (9, *shape))
    kept = draw_samples(SampleSettings(run=run, count=3), prior, with_latents=True)
    assert kept.latents is not None
    torch.testing.assert_close(kept.latents[2], drawn.latents[4])
    torch.testing.assert_close(torch.cat(list(kept.parts))[2], x[4], rtol=1e-3, atol=1e-4)
    assert not torch.equal(x[3], x[5])
    rows = draw_samples(SampleSettings(run=run, interpolate=True, count=1), prior)
    assert torch.cat(list(rows.parts)).shape == (8, *shape)
    near = nearest_images(x, learned_images(around), 2)
    assert near.images.shape == (9, 2, *shape)
