"""A studio that is served by a process of its own, with a small run, and a file beside its folder that is secret."""

from collections.abc import Iterator

import pytest

from served_studio import SECRET, Served, make_mixture, started


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("studio")
    secret = root / "secret.html"
    secret.write_text(SECRET)
    make_mixture(root / "home" / "digits")
    (root / "home" / "digits" / "report.html").write_text("<p>a report</p>")
    (root / "home" / "link.html").symlink_to(secret)
    with started(root / "home") as (address, process):
        yield Served(address, root / "home", secret, process.pid)
