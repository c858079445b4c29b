"""A study that takes seconds: networks for images of 8 x 8 pixels, a few steps of each."""

from genprior.study.study_settings import StudySize

TINY = StudySize(
    seeds=1,
    gan_images=1600,
    batch_size=16,
    recipe_images=640,
    glo_images=640,
    vae_images=640,
    glow_images=256,
    flow_images=256,
    mixture_epochs=1,
    samples=130,
    inverted=4,
    iterations=20,
    restored=4,
    drawn=2,
    draws=2,
    probe_steps=2,
)
