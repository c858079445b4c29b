"""Published mode counts, to stand beside ours. The protocol is the same, networks and budgets are not."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A row of a published table; what it does not tell is None.

    Attributes:
        name: What was trained.
        source: Table that it stands in.
        modes: Modes found, on average.
        divergence: Reverse Kullback-Leibler divergence to the uniform distribution, in nats.
        high_quality: Share of samples of high quality, in [0, 1].
        modes_error, divergence_error, high_quality_error: Their errors, of the kind that `source` names.
    """

    name: str
    source: str
    modes: float
    divergence: float | None = None
    high_quality: float | None = None
    modes_error: float | None = None
    divergence_error: float | None = None
    high_quality_error: float | None = None


VEEGAN = "VEEGAN (Srivastava et al. 2017), table 1"
VEEGAN_STACKED = "VEEGAN (Srivastava et al. 2017), table 2"
PACGAN = "PacGAN (Lin et al. 2018), table 1; standard error of 10 trials"
PACGAN_STACKED = "PacGAN, table 2, in VEEGAN's setting; standard error of 10 trials"
QUARTER = "PacGAN, table 3, in Unrolled GAN's setting, D = G/4; standard error of 50 trials"
HALF = "PacGAN, table 3, in Unrolled GAN's setting, D = G/2; standard error of 50 trials"
QUARTER_METZ = "Unrolled GAN (Metz et al. 2016), D = G/4, as PacGAN's table 3 has it"
HALF_METZ = "Unrolled GAN (Metz et al. 2016), D = G/2, as PacGAN's table 3 has it"
R3GAN = "R3GAN (Huang et al. 2024), table 3"
R3GAN_SMALL = "R3GAN (Huang et al. 2024), table 1, small ResNet"

PUBLISHED: dict[str, tuple[Published, ...]] = {
    "ring": (
        Published("GAN", VEEGAN, 1, None, 0.993),
        Published("ALI", VEEGAN, 2.8, None, 0.0013),
        Published("Unrolled GAN", VEEGAN, 7.6, None, 0.356),
        Published("VEEGAN", VEEGAN, 8, None, 0.529),
        Published("GAN", PACGAN, 6.3, 0.45, 0.982, 0.5, 0.09, 0.002),
        Published("ALI", PACGAN, 6.6, 0.36, 0.976, 0.3, 0.04, 0.004),
        Published("PacGAN2", PACGAN, 7.9, 0.07, 0.956, 0.1, 0.03, 0.020),
        Published("PacGAN3", PACGAN, 7.8, 0.10, 0.977, 0.1, 0.02, 0.003),
        Published("PacGAN4", PACGAN, 7.8, 0.07, 0.959, 0.1, 0.02, 0.014),
    ),
    "grid": (
        Published("GAN", VEEGAN, 3.3, None, 0.005),
        Published("ALI", VEEGAN, 15.8, None, 0.016),
        Published("Unrolled GAN", VEEGAN, 23.6, None, 0.16),
        Published("VEEGAN", VEEGAN, 24.6, None, 0.40),
        Published("GAN", PACGAN, 17.3, 0.70, 0.948, 0.8, 0.07, 0.007),
        Published("ALI", PACGAN, 24.1, 0.14, 0.957, 0.4, 0.03, 0.006),
        Published("PacGAN2", PACGAN, 23.8, 0.13, 0.913, 0.7, 0.04, 0.008),
        Published("PacGAN3", PACGAN, 24.6, 0.06, 0.942, 0.4, 0.02, 0.004),
        Published("PacGAN4", PACGAN, 24.8, 0.04, 0.936, 0.2, 0.01, 0.006),
    ),
    "stacked-mnist": (
        Published("DCGAN (Metz et al.)", QUARTER_METZ, 30.6, 5.99, None, 20.73, 0.42),
        Published("Unrolled, 1 step", QUARTER_METZ, 65.4, 5.91, None, 34.75, 0.14),
        Published("Unrolled, 5 steps", QUARTER_METZ, 236.4, 4.67, None, 63.30, 0.43),
        Published("Unrolled, 10 steps", QUARTER_METZ, 327.2, 4.66, None, 74.67, 0.46),
        Published("DCGAN", QUARTER, 78.5, 5.21, None, 17.56, 0.19),
        Published("PacDCGAN2", QUARTER, 484.5, 2.61, None, 32.99, 0.22),
        Published("PacDCGAN3", QUARTER, 601.3, 2.00, None, 32.18, 0.17),
        Published("PacDCGAN4", QUARTER, 667.4, 1.81, None, 29.00, 0.15),
        Published("DCGAN (Metz et al.)", HALF_METZ, 628.0, 2.58, None, 140.9, 0.75),
        Published("Unrolled, 1 step", HALF_METZ, 523.6, 2.44, None, 55.77, 0.26),
        Published("Unrolled, 5 steps", HALF_METZ, 732.0, 1.66, None, 44.98, 0.09),
        Published("Unrolled, 10 steps", HALF_METZ, 817.4, 1.43, None, 37.91, 0.12),
        Published("DCGAN", HALF, 487.7, 2.24, None, 34.59, 0.15),
        Published("PacDCGAN2", HALF, 840.7, 1.00, None, 15.92, 0.05),
        Published("PacDCGAN3", HALF, 866.6, 0.90, None, 12.10, 0.04),
        Published("PacDCGAN4", HALF, 820.2, 1.15, None, 25.50, 0.14),
    ),
    "stacked-mnist-dcgan": (
        Published("DCGAN", VEEGAN_STACKED, 99, 3.40),
        Published("ALI", VEEGAN_STACKED, 16, 5.40),
        Published("Unrolled GAN", VEEGAN_STACKED, 48.7, 4.32),
        Published("VEEGAN", VEEGAN_STACKED, 150, 2.95),
        Published("DCGAN", PACGAN_STACKED, 78.9, 4.50, None, 6.46, 0.127),
        Published("PacDCGAN2", PACGAN_STACKED, 1000, 0.06, None, 0.0, 0.003),
        Published("PacDCGAN3", PACGAN_STACKED, 1000, 0.06, None, 0.0, 0.003),
        Published("PacDCGAN4", PACGAN_STACKED, 1000, 0.07, None, 0.0, 0.005),
        Published("DCGAN", R3GAN, 99, 3.40),
        Published("VEEGAN", R3GAN, 150, 2.95),
        Published("WGAN-GP", R3GAN, 959, 0.73),
        Published("PacGAN", R3GAN, 992, 0.28),
        Published("StyleGAN2", R3GAN, 940, 0.42),
        Published("PresGAN", R3GAN, 1000, 0.12),
        Published("Adv. DSM", R3GAN, 1000, 1.49),
        Published("VAEBM", R3GAN, 1000, 0.087),
        Published("DDGAN", R3GAN, 1000, 0.071),
        Published("MEG", R3GAN, 1000, 0.031),
        Published("R3GAN, config E", R3GAN, 1000, 0.029),
        Published("RpGAN + R1 + R2", R3GAN_SMALL, 1000, 0.0781),
        Published("GAN + R1 + R2", R3GAN_SMALL, 693, 0.9270),
    ),
}
