"""Commands from settings: each field of a model is an argument or an option, its description the help.

Knows settings and typer; never torch.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from genprior.settings import Setting, Settings, validated

Given = dict[str, Any]
"""What a user gave, by the names of fields; what was not given is not in it."""


def command(models: Sequence[type[Settings]], do: Callable[[Given], None], help_text: str) -> Callable[..., None]:
    """Returns a function that typer reads as a command with the fields of all models.

    Arguments:
        models: Of two fields of one name the first one stands.
        do: Called with what was given.
        help_text: Of the command.
    """

    def run(**given: Any) -> None:  # noqa: ANN401 - as many as the models have fields
        do({name: value for name, value in given.items() if value not in (None, [])})

    settings: dict[str, Setting] = {}
    for setting in (each for model in models for each in model.settings()):
        settings.setdefault(setting.name, setting)
    ordered = sorted(settings.values(), key=lambda setting: setting.flag.metavar is None)  # arguments come first
    run.__signature__ = inspect.Signature([_parameter(setting) for setting in ordered])  # type: ignore[attr-defined]
    run.__annotations__ = {setting.name: _annotation(setting) for setting in ordered}
    run.__doc__ = help_text
    return run


def parsed(model: type[Settings], given: Given) -> Any:  # noqa: ANN401 - an instance of the model
    """Returns the model of what was given for its fields; raises `GenpriorError` about the field at fault."""
    return validated(model, {name: value for name, value in given.items() if name in model.model_fields})


def _parameter(setting: Setting) -> inspect.Parameter:
    default = inspect.Parameter.empty if setting.is_required else None
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_annotation(setting)
    )


def _annotation(setting: Setting) -> Any:  # noqa: ANN401 - a type that is made here
    kind: Any = setting.kind
    kind = list[kind] if setting.is_many else kind
    if not setting.is_required:
        kind = kind | None
    if setting.flag.metavar is not None:
        return Annotated[kind, typer.Argument(metavar=setting.flag.metavar, help=setting.help)]
    told = "text" if setting.kind is str else setting.kind.__name__.lower()
    flag = f"--{setting.name.replace('_', '-')}"
    letters = [setting.flag.letter] if setting.flag.letter else []
    names = [flag, *letters] if letters or setting.kind is bool else []  # typer adds --no-... to flags without a name
    metavar = None if setting.kind is bool else f"<{told}>"
    return Annotated[kind, typer.Option(*names, metavar=metavar, help=setting.help + _default(setting))]


def _default(setting: Setting) -> str:
    if setting.is_required or setting.default is None or setting.default in ((), "") or setting.kind is bool:
        return ""
    default = setting.default
    return f" Default {' '.join(map(str, default)) if isinstance(default, tuple) else default}."
