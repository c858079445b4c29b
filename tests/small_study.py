"""A study that takes seconds: networks for images of 8 x 8 pixels, a few steps of each; also in other processes."""

import os
import signal
import sys
from pathlib import Path

from genprior.cli import main
from genprior.study import study_jobs
from genprior.study.study_jobs import StudyJob
from genprior.study.study_settings import SIZES, StudySize

ASKED = ("study", "--data", "digits", "--pixels", "8")
TINY = StudySize(
    seeds=1,
    gan_images=1600,
    batch_size=16,
    recipe_images=640,
    recipe_batch_size=16,
    glo_images=640,
    vae_images=640,
    glow_images=256,
    flow_images=256,
    mixture_epochs=1,
    samples=130,
    inverted=4,
    iterations=20,
    restored=4,
    compared=3,
    drawn=2,
    draws=2,
    probe_steps=2,
)
_done = study_jobs.done


def tiny_done(job: StudyJob) -> StudyJob:
    """Does a piece of work in a worker, which knows of `TINY` by this alone."""
    SIZES["demo"] = TINY
    return _done(job)


def killed_at(write: int, *words: str) -> None:
    """Carries out a command; its process is killed when this file has been written whole but has not its name yet."""
    left, replace = [write], Path.replace

    def counted(path: Path, target: Path) -> Path:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return replace(path, target)

    setattr(Path, "replace", counted)  # noqa: B010 - the process ends with it
    SIZES["demo"] = TINY
    sys.argv = ["genprior", *words]
    main()
