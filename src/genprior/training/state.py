"""Tensors of several parts of an algorithm under one roof, as "<part>/<name>". Imports nothing of ours."""

from collections.abc import Mapping

from torch import Tensor


def joined(parts: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Returns the tensors of all parts, each under "<part>/<name>".

    Example:
        >>> joined({"a": {"x": Tensor()}, "b": {"x": Tensor()}}).keys()
        dict_keys(['a/x', 'b/x'])
    """
    return {f"{part}/{name}": value for part, state in parts.items() for name, value in state.items()}


def grouped(state: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """Returns the tensors of one part, by name."""
    prefix = part + "/"
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
