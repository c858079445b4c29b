"""Settings of runs that take milliseconds a step."""

from genprior.families import GANConfig


def points_config(**changes: object) -> GANConfig:
    """Small players on 2-D points, 20 steps in all."""
    settings = {"preset": "points", "data": "ring:count=500", "batch_size": 50, "images_seen": 1000, "threads": 1}
    if "minutes" in changes:
        del settings["images_seen"]
    return GANConfig.model_validate({**settings, "precision": "float32", **changes})
