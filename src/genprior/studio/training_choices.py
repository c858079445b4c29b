"""What the Train room offers: families with a sentence each, presets in the order in which they fit, named parts."""

import math
import zipfile
from collections.abc import Callable
from typing import Any

from genprior.data.image_files import usual_shape
from genprior.data.spec import NAMES, parse_spec
from genprior.data.survey import survey_files
from genprior.errors import GenpriorError
from genprior.families import FAMILIES
from genprior.scoring.scoring_experiments import EXPERIMENTS
from genprior.studio.allowed_folders import AllowedFolders

AUTO = "auto"  # no family: it tries some
NAMED = ("loss", "penalty")  # settings that are offered by name, of the families that have them
AS_PRESET = "as the preset has it"
Shape = tuple[int, int, int]


def first_sentence(entry: Callable[..., Any]) -> str:
    """Returns the first line of what an entry of a table says of itself, or what it makes."""
    told = entry.__doc__ or entry().__doc__ or ""
    return told.strip().partition("\n")[0]


def family_choices() -> list[tuple[str, str]]:
    """Returns what each family is, and its name; the automatic training first."""
    own = {name: config.HELP for name, config in FAMILIES.items()}
    return [(f"{name}: {told}", name) for name, told in {AUTO: EXPERIMENTS["train auto"].help, **own}.items()]


def named_choices(family: str, setting: str) -> list[tuple[str, str]]:
    """Returns what each entry of a setting's table is, and its name; empty where the family has no such setting."""
    tables = FAMILIES[family].tables() if family in FAMILIES else {}
    if setting not in tables:
        return []
    entries = tables[setting].load()
    return [(AS_PRESET, ""), *((f"{name}: {first_sentence(entry)}", name) for name, entry in entries.items())]


def preset_choices(family: str, shape: Shape | None, is_own: bool) -> list[str]:
    """Returns the presets of a family, the one that fits the images first; none of the automatic training.

    Arguments:
        family: Its name.
        shape: Of the images (C, H, W); None: not known.
        is_own: Whether they are somebody's own, which keep their size: named data get the one of the preset.
    """
    if family not in FAMILIES:
        return []
    presets, usual = FAMILIES[family].PRESETS, FAMILIES[family].DEFAULT_PRESET
    if not is_own:
        return sorted(presets, key=lambda name: name != usual)
    suggested = _suggested(shape)
    return sorted(
        presets,
        key=lambda name: ("data" in presets[name], name != suggested, _misfit(presets[name].get("size"), shape)),
    )


def chosen_values(family: str, preset: str | None, *named: str) -> dict[str, object]:
    """Returns what a visitor has chosen as settings; `named` are the values of `NAMED`, "" where the preset's stay."""
    asked = {name: value for name, value in zip(NAMED, named, strict=True) if value}
    own = {each.name: each for each in FAMILIES[family].settings()}
    values: dict[str, object] = {"preset": preset} if preset else {}
    return values | {name: (value,) if own[name].is_many else value for name, value in asked.items() if name in own}


def _suggested(shape: Shape | None) -> str:
    """The preset that `genprior data` names, which not every family has."""
    from genprior.runs.suggestion import OTHERS, PRESETS

    return OTHERS if shape is None else PRESETS.get(shape, OTHERS)


def _misfit(size: int | None, shape: Shape | None) -> float:
    """How far the size that a preset is made for is from the images; one for any size comes after one for theirs."""
    if size is None:
        return 1
    if shape is None:
        return 2
    return 0 if shape[1:] == (size, size) else 2 + abs(math.log2(size / math.sqrt(shape[1] * shape[2])))


def own_shape(folders: AllowedFolders, images: str) -> tuple[Shape | None, bool]:
    """Returns the shape (C, H, W) that images get, by their headers, and whether they are somebody's own.

    The shape is None where headers do not tell it, or the images cannot be read: whoever trains on them is told why.
    """
    try:
        text = folders.data(images)
        if parse_spec(text).source in NAMES:
            return None, False
        found = survey_files(text)
    except (GenpriorError, OSError, ValueError, zipfile.BadZipFile):
        return None, True
    if found is None or not found.shapes:
        return None, True
    is_grey = all(kind.startswith("grey") for kind in found.kinds)
    return (1 if is_grey else 3, *usual_shape(set(found.shapes))), True


def presets_anew(folders: AllowedFolders, wish: list[str], last: list[str]) -> list[str] | None:
    """Returns the presets for images and a family, the one that fits first; None: both are as last time, and stay."""
    if wish == last:
        return None
    images, family = wish
    return preset_choices(family, *own_shape(folders, images))
