"""The grammar of data specs."""

from pathlib import Path

import numpy as np
import pytest

from genprior.data import load_data
from genprior.data.load import SOURCES
from genprior.data.spec import NAMES, parse_spec, read_count, read_options
from genprior.errors import GenpriorError

KNOWN = {"split": ("train", "test", "all"), "subset": ("letters", "digits"), "count": ()}


@pytest.mark.parametrize(
    ("text", "source", "rest", "window"),
    [
        ("mnist", "mnist", "", slice(None)),
        ("mnist:split=all", "mnist", "split=all", slice(None)),
        ("mnist:test[:100]", "mnist", "test", slice(None, 100)),
        ("mnist[-5:]", "mnist", "", slice(-5, None)),
        ("mnist[ 2 : 4 ]", "mnist", "", slice(2, 4)),
        ("hub:owner/name:split=train[:]", "hub", "owner/name:split=train", slice(None)),
    ],
)
def test_a_spec_comes_apart(text: str, source: str, rest: str, window: slice) -> None:
    spec = parse_spec(text)
    assert (spec.text, spec.source, spec.rest, spec.window) == (text, source, rest, window)


def test_an_existing_path_is_that_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("images", "a:b", "odd[1:2]"):
        Path(name).mkdir()
        spec = parse_spec(name)
        assert (spec.source, spec.rest, spec.window) == (None, name, slice(None))
    assert parse_spec("odd[1:2][3:4]").rest == "odd[1:2]"
    assert parse_spec("odd[1:2][3:4]").window == slice(3, 4)
    assert parse_spec(tmp_path).source is None
    assert parse_spec("mnist:train").source == "mnist"


def test_the_name_of_a_data_set_is_no_path_where_a_folder_has_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run may be called as its data are: what stands in its config must not become that folder."""
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    for text in ("digits", "digits[:3]"):
        assert parse_spec(text).source == "digits"
    assert parse_spec("./digits").source is None
    assert parse_spec(Path("digits")).source is None
    with pytest.warns(UserWarning, match=r"digits is the data set of that name; .* write ./digits$"):
        load_data("digits[:3]")
    Path("digits", "config.json").write_text("{}")
    assert len(load_data("digits[:3]")) == 3


def test_every_data_set_has_its_name_in_the_grammar() -> None:
    assert set(SOURCES) == NAMES


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8), np.uint8))
    assert len(load_data("~/a.npy")) == 2


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("", {}),
        ("test", {"split": "test"}),
        ("letters,train", {"subset": "letters", "split": "train"}),
        ("split=all, subset=digits", {"split": "all", "subset": "digits"}),
        ("count=12", {"count": "12"}),
    ],
)
def test_options_are_read(words: str, options: dict[str, str]) -> None:
    assert read_options(parse_spec(f"emnist:{words}"), KNOWN) == options


def test_a_bare_word_may_be_a_free_split() -> None:
    assert read_options(parse_spec("hub:validation"), {"split": ()}) == {"split": "validation"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("lettrs", "unknown option 'lettrs'; did you mean 'letters'"),
        ("splt=test", "unknown option 'splt'; did you mean 'split'"),
        ("split=tset", "unknown split 'tset'; did you mean 'test'"),
        ("split=", "unknown split ''"),
        ("count=", "unknown count ''"),
        ("train,test", "split given twice"),
        ("train,,letters", "unknown option ''"),
    ],
)
def test_bad_options_are_refused(words: str, message: str) -> None:
    with pytest.raises(GenpriorError, match=rf"^data: {message}.*in 'emnist:{words}'"):
        read_options(parse_spec(f"emnist:{words}"), KNOWN)


@pytest.mark.parametrize("count", ["0", "-1", "1.5", "many", "1e3", "٣"])
def test_bad_counts_are_refused(count: str) -> None:
    with pytest.raises(GenpriorError, match=rf"^data: expected count=N .*got '{count}'"):
        read_count(parse_spec("ring"), {"count": count}, 5)


@pytest.mark.parametrize("spec", ["mnist[5]", "mnist[::2]", "mnist[a:b]", "mnist[]"])
def test_bad_slices_are_refused(spec: str) -> None:
    with pytest.raises(GenpriorError, match=r"^data: expected a slice \[start:stop\]"):
        parse_spec(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mnits:test", "unknown data set.*'mnits'; did you mean 'mnist'.*or a path"),
        ("MNIST", "did you mean 'mnist'"),
        ("no/such/folder", "no such file or folder: 'no/such/folder'"),
        ("x" * 5000, "unknown data set"),
        ("\0", "unknown data set"),
        ("", "expected a data set or a path, got an empty text"),
        (" ", "got an empty text"),
    ],
)
def test_unknown_sources_are_refused(spec: str, message: str) -> None:
    with pytest.raises(GenpriorError, match=rf"^data: .*{message}|^data: {message}"):
        load_data(spec)


def test_a_path_takes_no_options(tmp_path: Path) -> None:
    with pytest.raises(GenpriorError, match=r"^data: a path takes no options"):
        load_data(f"{tmp_path}:test")


@pytest.mark.parametrize(
    ("argument", "value"),
    [("size", 0), ("size", -1), ("size", 2.0), ("size", True), ("channels", 2), ("channels", 0)],
)
def test_bad_sizes_and_channels_are_refused(argument: str, value: int) -> None:
    sizes = {"size": None, "channels": None} | {argument: value}
    with pytest.raises(GenpriorError, match=rf"^{argument}: expected .*got {value!r}") as caught:
        load_data("digits", size=sizes["size"], channels=sizes["channels"])
    assert caught.value.argument == argument


def test_an_unknown_fit_is_refused() -> None:
    with pytest.raises(GenpriorError, match=r"^fit: unknown fit 'corp'; did you mean 'crop'"):
        load_data("digits", fit="corp")
