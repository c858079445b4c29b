"""scikit-learn's digits, and torchvision's data sets: local, damaged, downloaded, out of reach."""

import ast
import socket
import sys
import time
import urllib.request
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch

from genprior.data import load, load_data
from genprior.data.load import SOURCES
from genprior.data.named import answers, quiet
from genprior.errors import GenpriorError

MADE = ("digits", "hub", "ring", "grid")


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    dataset, known = load_data("digits", size=8), load_digits()
    assert np.array_equal(dataset.images[:, 0].numpy(), np.round(known.images * 255 / 16))
    assert dataset.labels is not None
    assert np.array_equal(dataset.labels.numpy(), known.target)


@pytest.mark.parametrize(("size", "side"), [(None, 28), (4, 4), (64, 64)])
def test_digits_come_in_any_size(size: int | None, side: int) -> None:
    assert load_data("digits", size=size).images.shape == (1797, 1, side, side)


@pytest.mark.parametrize(
    ("spec", "count", "first", "mean", "deviation"),
    [  # train: the mean and deviation by which MNIST is normalised everywhere
        ("mnist", 60000, [5, 0, 4, 1, 9], 0.1307, 0.3081),
        ("mnist:test", 10000, [7, 2, 1, 0, 4], 0.1325, 0.3105),
    ],
)
@pytest.mark.mnist
def test_mnist_is_mnist(spec: str, count: int, first: list[int], mean: float, deviation: float) -> None:
    dataset = load_data(spec)
    assert dataset.images.shape == (count, 1, 28, 28)
    assert dataset.labels is not None
    assert dataset.labels[:5].tolist() == first
    x = dataset.take(torch.arange(count))
    assert (x.mean().item(), x.std().item()) == pytest.approx((mean, deviation), abs=1e-4)


def test_the_argument_wins_over_the_environment(copies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENPRIOR_DATA", str(tmp_path / "elsewhere"))
    assert len(load_data("mnist", root=copies)) == 12


@pytest.mark.parametrize("value", [None, ""])
def test_the_default_root_is_a_cache_folder(
    value: str | None, copies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GENPRIOR_DATA", "")
    if value is None:
        monkeypatch.delenv("GENPRIOR_DATA")
    (tmp_path / ".cache").mkdir()
    copies.rename(tmp_path / ".cache" / "genprior")
    assert len(load_data("mnist")) == 12


def test_emnist_stands_upright(copies: Path) -> None:
    raw = (copies / "EMNIST" / "raw" / "emnist-letters-train-images-idx3-ubyte").read_bytes()
    stored = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)
    dataset = load_data("emnist:letters,train", root=copies)
    assert np.array_equal(dataset.images[:, 0].numpy(), stored.transpose(0, 2, 1))
    assert dataset.fingerprint() != load_data("emnist", root=copies).fingerprint()


def test_colours_keep_their_places(copies: Path) -> None:
    import pickle

    batch = pickle.loads((copies / "cifar-100-python" / "train").read_bytes())
    dataset = load_data("cifar100", root=copies)
    assert np.array_equal(dataset.images.flatten(1).numpy(), batch["data"])


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in MADE])
def test_without_copy_and_network_the_files_are_named(name: str, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(GenpriorError, match=r"^data: no network and no local copy .*: put ") as e:
        load_data(name, root=tmp_path / "none")
    assert time.monotonic() - start < 3
    assert str(tmp_path / "none") in str(e.value)
    assert "--data-root" in str(e.value)
    assert e.value.argument == "data"
    assert not (tmp_path / "none").exists()


def test_the_files_and_their_folder_are_exact(tmp_path: Path) -> None:
    files = "train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz, "
    with pytest.raises(GenpriorError) as caught:
        load_data("mnist", root=tmp_path)
    assert f"put {files}t10k-labels-idx1-ubyte.gz from https://" in str(caught.value)
    assert f"into {tmp_path / 'MNIST' / 'raw'}" in str(caught.value)


def test_archives_put_in_their_place_are_unpacked(
    copies: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import gzip
    import hashlib

    from torchvision.datasets import FashionMNIST

    expected, resources = load_data("fashion-mnist", root=copies), []
    for path in sorted((copies / "FashionMNIST" / "raw").iterdir()):
        packed = gzip.compress(path.read_bytes())
        path.with_name(path.name + ".gz").write_bytes(packed)
        resources.append((path.name + ".gz", hashlib.md5(packed).hexdigest()))
        path.unlink()
    monkeypatch.setattr(FashionMNIST, "resources", resources)
    assert load_data("fashion-mnist", root=copies).fingerprint() == expected.fingerprint()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["mnist", "kmnist"])
def test_files_that_were_compressed_anew_are_named_and_not_the_network(name: str, copies: Path) -> None:
    import gzip

    raw = copies / {"mnist": "MNIST", "kmnist": "KMNIST"}[name] / "raw"
    for path in list(raw.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    message = r"^data: train-images-idx3-ubyte\.gz, .* are not as published \(another checksum: compressed anew"
    with pytest.raises(GenpriorError, match=message) as caught:
        load_data(name, root=copies)
    assert "network" not in str(caught.value)
    assert "with gunzip" in str(caught.value)
    for path in list(raw.iterdir()):  # what the message says helps
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    assert len(load_data(name, root=copies)) == 12


def test_a_download_is_silent_and_restores_the_timeout(
    copies: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from torchvision.datasets import KMNIST

    folder, seen = copies / "KMNIST", []
    folder.rename(copies / "remote")

    def download(self: KMNIST) -> None:
        print("100%|#####|")
        print("downloading", file=sys.stderr)
        seen.append(socket.getdefaulttimeout())
        (copies / "remote").rename(folder)

    monkeypatch.setattr(KMNIST, "download", download)
    monkeypatch.setattr("genprior.data.named.answers", lambda url: True)
    assert len(load_data("kmnist", root=copies)) == 12
    assert seen == [10.0]
    assert socket.getdefaulttimeout() is None
    assert capfd.readouterr() == ("", "")


def test_a_download_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genprior.data.named.answers", lambda url: True)
    with pytest.raises(
        GenpriorError, match=r"^data: no download .*no network in tests.* no local copy of SVHN"
    ) as caught:
        load_data("svhn", root=tmp_path)
    assert "\n" not in str(caught.value)
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "MNIST/raw/train-images-idx3-ubyte"),
        ("cifar10", "cifar-10-batches-py/data_batch_1"),
        ("usps", "usps.bz2"),
        ("svhn", "train_32x32.mat"),
        ("stl10", "stl10_binary/train_X.bin"),
    ],
)
@pytest.mark.parametrize("length", [0, 5, 300])
def test_a_damaged_copy_is_called_damaged(name: str, file: str, length: int, copies: Path) -> None:
    content = (copies / file).read_bytes()
    (copies / file).write_bytes(content[:length])
    with pytest.raises(GenpriorError, match=r"^data: the local copy .* is damaged .*delete") as e:
        load_data(name, root=copies)
    assert "\n" not in str(e.value)


def test_a_silent_network_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def stay_silent(*_: object, **__: object) -> NoReturn:
        time.sleep(0.6)
        raise TimeoutError

    monkeypatch.setattr(urllib.request, "urlopen", stay_silent)
    monkeypatch.setattr("genprior.data.named.ANSWER_SECONDS", 0.05)
    start = time.monotonic()
    assert not answers("https://example.org")
    assert time.monotonic() - start < 0.5


def test_an_unfriendly_answer_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from email.message import Message
    from urllib.error import HTTPError

    def forbidden(*_: object, **__: object) -> None:
        raise HTTPError("https://example.org", 403, "Forbidden", Message(), None)

    assert not answers("https://example.org")
    monkeypatch.setattr(urllib.request, "urlopen", forbidden)
    assert answers("https://example.org")


def test_quiet_restores_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with pytest.raises(ZeroDivisionError), quiet():
        print("hidden", 1 // 0)
    with quiet():
        print("hidden")
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr().out == ""


def test_data_imports_no_heavy_library_before_it_is_needed() -> None:
    heavy = {"datasets", "sklearn", "torchvision", "PIL"}
    for path in Path(load.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            modules = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
            modules |= {str(node.module)} if isinstance(node, ast.ImportFrom) else set()
            assert not heavy & {module.partition(".")[0] for module in modules}, path


def test_labels_are_whole_numbers(copies: Path) -> None:
    labels = load_data("qmnist", root=copies).labels
    assert labels is not None
    assert torch.equal(labels, torch.arange(12) % 10)
