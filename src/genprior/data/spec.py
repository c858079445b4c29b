"""The words of a data spec: SOURCE[:option[,option...]][[start:stop]]. Knows no source."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from genprior.errors import GenpriorError, suggestion

SLICE = re.compile(r"(?P<body>.*)\[(?P<window>[^\[\]]*)\]", re.DOTALL)
WINDOW = re.compile(r"\s*([+-]?\d+)?\s*:\s*([+-]?\d+)?\s*")


@dataclass(frozen=True)
class Spec:
    """A data spec taken apart.

    Attributes:
        text: As it was written.
        source: Name before the first colon; None for a path.
        rest: What follows that colon; for a path, the path.
        window: The images asked for, of those that source and options name.
    """

    text: str
    source: str | None
    rest: str
    window: slice

    def chosen(self, count: int) -> range:
        """Returns the indices that the window keeps of `count` images, at least one.

        Example:
            >>> parse_spec("mnist:test[-3:]").chosen(10000)
            range(9997, 10000)
        """
        indices = range(*self.window.indices(count))
        if not indices:
            raise GenpriorError(
                f"expected a slice that holds images, got {self.text!r}, which keeps none of "
                f"{count}: widen or drop the slice",
                argument="data",
            )
        return indices


def parse_spec(spec: str | os.PathLike[str]) -> Spec:
    """Returns a spec taken apart; a string that names an existing path is that path as it stands.

    Example:
        >>> parse_spec("emnist:letters,train[:100]").rest
        'letters,train'
    """
    text = os.fspath(spec)
    if not text.strip():
        raise GenpriorError("expected a data set or a path, got an empty text", argument="data")
    if _exists(text):
        return Spec(text, None, os.path.expanduser(text), slice(None))
    body, window = _split_window(text)
    if _exists(body):
        return Spec(text, None, os.path.expanduser(body), window)
    source, _, rest = body.partition(":")
    return Spec(text, source, rest, window)


def read_options(spec: Spec, known: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Returns the options that a spec gives, by name.

    Arguments:
        spec: With `rest` made of options alone: `key=value`, or a bare word that one option lists.
        known: What each option may say; an empty tuple: anything. A bare word that nobody lists is
            the value of an option `split` that may say anything.

    Example:
        >>> read_options(parse_spec("mnist:test"), {"split": ("train", "test")})
        {'split': 'test'}
    """
    options: dict[str, str] = {}
    for word in spec.rest.split(",") if spec.rest else []:
        name, value = _read_option(spec, word.strip(), known)
        if name in options:
            raise _fault(spec, f"{name} given twice")
        options[name] = value
    return options


def read_count(spec: Spec, options: Mapping[str, str], default: int) -> int:
    """Returns the option `count`, a positive number of images, or the default."""
    text = options.get("count", str(default))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise _fault(spec, f"expected count=N with N a whole number above 0, got {text!r}")
    return int(text)


def _exists(text: str) -> bool:
    return os.path.exists(os.path.expanduser(text))  # False, not an error, for an impossible name


def _split_window(text: str) -> tuple[str, slice]:
    found = SLICE.fullmatch(text)
    if found is None:
        return text, slice(None)
    numbers = WINDOW.fullmatch(found["window"])
    if numbers is None:
        raise GenpriorError(
            f"expected a slice [start:stop] of whole numbers, got [{found['window']}] in {text!r}",
            argument="data",
        )
    start, stop = (int(number) if number else None for number in numbers.groups())
    return found["body"], slice(start, stop)


def _read_option(spec: Spec, word: str, known: Mapping[str, tuple[str, ...]]) -> tuple[str, str]:
    if not known:
        raise _fault(spec, f"{spec.source} takes no options, got {word!r}")
    name, equals, value = word.partition("=")
    if not equals:
        return _option_of_word(spec, word, known), word
    if name not in known:
        raise _fault(spec, f"unknown option {name!r}; {suggestion(name, known)}")
    if not value or (known[name] and value not in known[name]):
        raise _fault(spec, f"unknown {name} {value!r}; {suggestion(value, known[name])}")
    return name, value


def _option_of_word(spec: Spec, word: str, known: Mapping[str, tuple[str, ...]]) -> str:
    for name, words in known.items():
        if word in words:
            return name
    if word and known.get("split") == ():
        return "split"
    forms = [form for name, words in known.items() for form in (words or (f"{name}=",))]
    raise _fault(spec, f"unknown option {word!r}; {suggestion(word, forms)}")


def _fault(spec: Spec, what: str) -> GenpriorError:
    return GenpriorError(f"{what} (in {spec.text!r})", argument="data")
