"""A studio that is served by a process of its own, with a small run, and a file beside its folder that is secret."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from served_studio import SECRET, Served, end_trainings, make_mixture, started


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("studio")
    secret = root / "secret.html"
    secret.write_text(SECRET)
    make_mixture(root / "home" / "digits")
    (root / "home" / "digits" / "report.html").write_text("<p>a report</p>")
    (root / "home" / "link.html").symlink_to(secret)
    try:
        with started(root / "home") as (address, process):
            yield Served(address, root / "home", secret, process.pid)
    finally:
        end_trainings(root / "home")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for a studio of one's own; nothing is trained in it any more at the end."""
    try:
        yield tmp_path / "home"
    finally:
        end_trainings(tmp_path / "home")
