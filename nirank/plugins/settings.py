"""Settings of a component, bound to its factory's own signature and checked before anything is built.

A parameter is a setting. Several that belong together are a dataclass, and a parameter of that type with such a value
as its default:

    @dataclass(frozen=True)
    class Reading:
        query_terms: int = 30
        language: str = "english"

    class KNRM:
        def __init__(self, kernels: int = 11, *, reading: Reading = Reading()) -> None: ...

Its fields are settings like the others, flat, in TOML, on the command line and for `nirank.load`:
`nirank.load("knrm", kernels=21, query_terms=10)`. So that what several components share is declared once.
"""

from __future__ import annotations

import dataclasses
import inspect
import numbers
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nirank.errors import BadInput, PluginError, UnknownName
from nirank.hints import fits, is_simple, readable, spelled_out

#: The default of a setting that must be given.
REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True)
class Setting:
    """One setting: its type as annotated, its default, and the dataclass-typed parameter that it is a field of."""

    name: str
    hint: Any
    default: Any = REQUIRED
    within: str | None = None


@dataclass(frozen=True)
class Bound:
    """Settings by name, flat, as they are written down; `arguments` are what the factory is called with."""

    settings: dict[str, Any]
    arguments: dict[str, Any]


def declared(factory: Callable[..., Any]) -> dict[str, Setting]:
    """The settings of a factory by name, in the order of its signature, fields of dataclasses in their place."""
    hints = _type_hints(factory)
    parameters = inspect.signature(factory).parameters.values()
    named = [parameter for parameter in parameters if parameter.kind not in _STARRED]
    found: dict[str, Setting] = {}
    for parameter in named:
        for setting in _of_parameter(parameter, hints[parameter.name]):
            if setting.name in found:
                raise PluginError(f"{factory.__qualname__} declares the setting {setting.name!r} twice; rename one.")
            found[setting.name] = setting
    return found


def bind(factory: Callable[..., Any], given: Mapping[str, Any], owner: str) -> Bound:
    """The settings to call `factory` with: the given ones, checked, and its defaults for the rest.

    Raises `UnknownName` for a setting that the factory lacks, `BadInput` for one that is missing or of the
    wrong type; both name the `owner`. Numbers of numpy become Python's own, texts become paths where one is wanted.
    """
    known, parameters = declared(factory), inspect.signature(factory).parameters
    given = _taken_apart(given, known, parameters)
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        for name in sorted(given.keys() - known.keys()):
            raise UnknownName(f"setting of {owner}", name, known)
    for name, setting in known.items():
        if setting.default is REQUIRED and name not in given:
            raise BadInput(f"{owner} needs the setting {name!r}, which has no default: give it a value.")
    checked = {name: _checked(value, known[name].hint, f"{owner}: {name}") if name in known else value
               for name, value in given.items()}  # fmt: skip
    settings = {name: setting.default for name, setting in known.items() if name not in given} | checked
    return Bound(settings, _arguments(settings, known, _type_hints(factory)))


def _of_parameter(parameter: inspect.Parameter, hint: Any) -> Iterator[Setting]:
    if not _is_group(hint):
        yield Setting(parameter.name, hint, parameter.default)
        return
    hints = typing.get_type_hints(hint)
    for field in dataclasses.fields(hint):
        if field.init:
            yield Setting(field.name, hints[field.name], _default_of(field, parameter.default), parameter.name)


def _is_group(hint: Any) -> bool:
    return inspect.isclass(hint) and dataclasses.is_dataclass(hint)


def _default_of(field: dataclasses.Field[Any], whole: Any) -> Any:
    if whole is not REQUIRED:
        return getattr(whole, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED if field.default is dataclasses.MISSING else field.default


def _taken_apart(
    given: Mapping[str, Any], known: Mapping[str, Setting], parameters: Mapping[str, inspect.Parameter]
) -> dict[str, Any]:
    """The given settings, with the fields of a dataclass that was given as a whole."""
    flat: dict[str, Any] = {}
    for name, value in given.items():
        whole = name in parameters and name not in known and dataclasses.is_dataclass(value)
        flat |= (
            {field.name: getattr(value, field.name) for field in dataclasses.fields(value)} if whole else {name: value}
        )
    return flat


def _arguments(settings: Mapping[str, Any], known: Mapping[str, Setting], hints: Mapping[str, Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        within = known[name].within if name in known else None
        if within is None:
            arguments[name] = value
        else:
            groups.setdefault(within, {})[name] = value
    return arguments | {within: hints[within](**values) for within, values in groups.items()}


def _checked(value: Any, hint: Any, where: str) -> Any:
    """The value as its type has it; what is simple is judged here, the rest by pydantic."""
    if is_simple(hint):
        value = spelled_out(value, hint)
        if not fits(value, hint):
            raise BadInput(f"{where} = {value!r} is not of the type {readable(hint)}.")
        return _plain(value)
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

    config = None if _has_config(hint) else ConfigDict(arbitrary_types_allowed=True)
    try:
        return TypeAdapter(hint, config=config).validate_python(value)
    except PydanticUserError:  # a type of which nothing can be known
        return value
    except ValidationError as error:
        why = error.errors()[0]["msg"]
        raise BadInput(f"{where} = {value!r} is not of the type {readable(hint)}: {why}.") from None


def _has_config(hint: Any) -> bool:
    """True for a type with a configuration of its own, which pydantic does not let one replace."""
    return inspect.isclass(hint) and (dataclasses.is_dataclass(hint) or hasattr(hint, "model_config"))


_STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _type_hints(factory: Callable[..., Any]) -> dict[str, Any]:
    """The type of each parameter; where annotations name what cannot be imported, that of a group is its default's."""
    function = factory.__init__ if inspect.isclass(factory) else factory
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # annotations may name what is imported for type checking only: then little is checked
        hints = {}
    parameters = inspect.signature(factory).parameters.values()
    return {parameter.name: hints.get(parameter.name, _type_of_default(parameter.default)) for parameter in parameters}


def _type_of_default(default: Any) -> Any:
    return type(default) if dataclasses.is_dataclass(default) and not inspect.isclass(default) else Any


def _plain(value: Any) -> Any:
    if isinstance(value, (int, float)) or not isinstance(value, numbers.Real):
        return value
    return int(value) if isinstance(value, numbers.Integral) else float(value)
