"""A command line has what differs from the defaults, and what is told in any case, so that a shell reads it back."""

import shlex
from pathlib import Path

from genprior.command_lines import command_of
from genprior.restoring.job_settings import RestoreSettings
from genprior.specs import Spec


def test_what_differs_from_the_defaults_is_told_so_that_a_shell_reads_it_back() -> None:
    settings = RestoreSettings(run=Path("my runs/one"), images="photos", operator=Spec.parse("inpaint:box=14"), draws=8)
    words = shlex.split(command_of("restore", settings, {"overwrite": True, "jobs": None, "mask": ("a b", "c")}))
    assert words[:2] == ["genprior", "restore"]
    assert words[2:4] == ["my runs/one", "photos"]
    assert words[-5:] == ["--overwrite", "--mask", "a b", "--mask", "c"]
    assert "--jobs" not in words
    assert "--seed" not in words
    assert words[words.index("--operator") + 1] == "inpaint:box=14"


def test_without_settings_all_is_told() -> None:
    assert (
        command_of("train gan", more={"batch_size": 8, "data": "a b"})
        == "genprior train gan --batch-size 8 --data 'a b'"
    )
