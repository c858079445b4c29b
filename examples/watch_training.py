"""Train on the embedded digits and look at every step: the loop belongs to the caller."""

from pathlib import Path

import genprior
from genprior.plotting.sample_figures import write_samples
from genprior.seeding import derived_generator


def main(images: int = 150_000, every: int = 50, out: Path = Path("digits.png")) -> None:
    config = genprior.GANConfig(data="digits", loss="non-saturating")
    data = config.load_data()
    gan = config.build(data)
    for step in genprior.train(gan, data, genprior.Budget(images=images), seed=0):
        if step.index % every == 0:
            real, fake = float(step.record["d_real"]), float(step.record["d_fake"])
            print(f"{step.images_seen:>8,} images  D(x) {real:.3f}  D(G(z)) {fake:.3f}")
    write_samples(gan.sample(gan.latents(64, derived_generator(0, "example"))), out)
    print(out)


if __name__ == "__main__":
    main()
