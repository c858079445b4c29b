"""An operator of one's own: a sensor that sees the mean of each row and of each column."""

import torch
from deepinv.physics import Physics
from torch import Tensor

import genprior


class RowsAndColumns(Physics):
    def A(self, x: Tensor, **_: object) -> Tensor:
        return torch.cat([x.mean(2), x.mean(3)], 2)


def main(run: str = "runs/ns", count: int = 8) -> None:
    prior, physics = genprior.load_prior(run), RowsAndColumns()
    x = prior.sample(count, seed=1)
    found = genprior.restore(prior, physics.A(x), physics)
    print("mean squared error of each image:", (found.images - x).square().mean((1, 2, 3)).tolist())


if __name__ == "__main__":
    main()
