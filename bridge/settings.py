"""Command line, environment, secret files and TOML -> one frozen Settings, made of the modules' own options."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, ClassVar, get_origin, get_type_hints
from urllib.parse import urlsplit

import orjson
import pydantic_settings
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from bridge.adapters import kmp
from bridge.adapters.genesys import options as genesys
from bridge.adapters.genesys.options import Options as GenesysOptions
from bridge.adapters.http import Options as HttpOptions
from bridge.adapters.kafka import clients
from bridge.adapters.kafka.clients import Options as KafkaOptions
from bridge.adapters.kmp import Options as KmpOptions
from bridge.core.acceptance import Options as ClicksOptions
from bridge.core.budget import Options as BudgetOptions
from bridge.core.errors import WrongSetupError
from bridge.core.options import OneOf, Within
from bridge.core.ranking import Options as RankingOptions
from bridge.core.topics import Options as TopicsOptions
from bridge.core.valve import Options as ValveOptions
from bridge.workers.ingress import Options as IngressOptions

_PREFIX = "BRIDGE_"
_RULE = "range"
_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """The section `log`."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    level: Annotated[str, OneOf("debug", "info", "warning", "error")] = "info"
    format: Annotated[str, OneOf("auto", "json", "text")] = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The section `run`."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    drain_timeout_s: Annotated[float, Within(0.1, 3_600)] = 25.0
    start_timeout_s: Annotated[float, Within(0.1, 3_600)] = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All options, a section each."""

    kafka: KafkaOptions = field(default_factory=KafkaOptions)
    topics: TopicsOptions = field(default_factory=TopicsOptions)
    genesys: GenesysOptions = field(default_factory=GenesysOptions)
    ingress: IngressOptions = field(default_factory=IngressOptions)
    valve: ValveOptions = field(default_factory=ValveOptions)
    ranking: RankingOptions = field(default_factory=RankingOptions)
    clicks: ClicksOptions = field(default_factory=ClicksOptions)
    kmp: KmpOptions = field(default_factory=KmpOptions)
    dlq: BudgetOptions = field(default_factory=BudgetOptions)
    http: HttpOptions = field(default_factory=HttpOptions)
    log: LogOptions = field(default_factory=LogOptions)
    run: RunOptions = field(default_factory=RunOptions)


class SettingsError(WrongSetupError):
    """Options that cannot be used; `faults` are lines for a person, each with the option's path."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults), remedy="config/bridge.toml documents every option")
        self.faults = tuple(faults)


SECTIONS: Mapping[str, type[Any]] = get_type_hints(Settings)


def load(config: Path | None = None, *, overrides: Iterable[str] = ()) -> Settings:
    """The options from `overrides` (`kafka.prefix=a-`), then the environment, secret files, the file, the defaults.

    `config` None means the file that `BRIDGE_CONFIG` names, if it names one. Raises SettingsError with every fault.
    """
    given = config or os.environ.get(f"{_PREFIX}CONFIG")
    file, secrets = Path(given) if given else None, os.environ.get(f"{_PREFIX}SECRETS_DIR") or None
    if file is not None and not file.is_file():
        raise SettingsError([f"{file}: there is no such file"])
    try:
        settings = _settled(_read(file, secrets, overrides))
    except ValidationError as error:
        raise SettingsError([_fault_of(detail) for detail in error.errors(include_url=False)]) from None
    except TOMLDecodeError as error:
        raise SettingsError([f"{file}: is no TOML: {error}"]) from None
    except (pydantic_settings.SettingsError, UnicodeDecodeError, OSError) as error:
        where = getattr(error, "filename", None) or " or ".join(str(one) for one in (file, secrets) if one)
        raise SettingsError([f"{where}: cannot be read: {type(error).__name__}"]) from None
    faults = list(_contradictions(settings))
    if faults:
        raise SettingsError(faults)
    return settings


def required_for(settings: Settings, workers: Iterable[str]) -> list[str]:
    """What these workers (`ingress`, `ranker`, `tally`, `exporter`) need and do not have: one line a fault."""
    needed = set(workers)
    faults: list[str] = []
    if "ingress" in needed:
        faults += genesys.faults_of(settings.genesys)
    if "exporter" in needed:
        faults += _kmp_faults(settings.kmp)
    return faults


def _kmp_faults(options: KmpOptions) -> Iterator[str]:
    try:
        _ = urlsplit(options.endpoint).port
    except ValueError:  # A port that is no number, a bracket without its other half.
        yield "kmp.endpoint: must be an http or https address"
    else:
        yield from kmp.faults_of(options)


def secrets_in(settings: Settings) -> list[str]:
    """The secrets that are set, to mask them in what libraries log."""
    secrets = (
        getattr(getattr(settings, section), option.name)
        for section, options in SECTIONS.items()
        for option in fields(options)
        if _is_secret(section, option.name)
    )
    return [secret for secret in secrets if secret]


def _is_secret(section: str, option: str) -> bool:
    # A module keeps its secrets out of the repr of its options.
    return any(one.name == option and not one.repr for one in fields(SECTIONS[section]))


# -- reading -----------------------------------------------------------------------------------------------------------


class _Sources(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        secrets_dir_missing="error",
        secrets_prefix="",
        enable_decoding=False,
    )


def _read(file: Path | None, secrets: str | None, overrides: Iterable[str]) -> BaseModel:
    """What the sources give, each option checked by itself; the later source has the last word."""
    models = {section: _model_of(options) for section, options in SECTIONS.items()}
    declared: dict[str, Any] = {section: (model, Field(default_factory=model)) for section, model in models.items()}
    sources = create_model("Sources", __base__=_Sources, **declared)
    merged: dict[str, Any] = {}
    for source in (
        TomlConfigSettingsSource(sources, toml_file=file)(),
        _options_only(NestedSecretsSettingsSource(sources, secrets_dir=secrets)),  # type: ignore[arg-type] # it takes both
        _options_only(EnvSettingsSource(sources)),
        _strange_sections(),
        _by_section(overrides),
    ):
        for section, options in source.items():
            known = merged.get(section)
            merged[section] = known | options if isinstance(known, dict) and isinstance(options, dict) else options
    checked: type[BaseModel] = create_model("Read", __config__=ConfigDict(extra="forbid"), **declared)
    return checked.model_validate(merged)


def _options_only(source: EnvSettingsSource) -> dict[str, Any]:
    # A variable `BRIDGE_KAFKA` would set the whole section, but a name without `__` is no option.
    source.env_vars = {name: value for name, value in source.env_vars.items() if "__" in name}
    return source()


def _model_of(options: type[Any]) -> type[BaseModel]:
    """A model with the same names and types that checks ranges, too; it knows no defaults."""
    hints = get_type_hints(options, include_extras=True)
    declared: dict[str, Any] = {one.name: (_checked(hints[one.name]), None) for one in fields(options)}
    return create_model("Section", __config__=ConfigDict(extra="forbid"), **declared)


def _checked(hint: Any) -> Any:
    def check(value: Any) -> Any:
        for rule in getattr(hint, "__metadata__", ()):
            fault = rule.fault(value) if isinstance(rule, Within | OneOf) else None
            if fault is not None:
                raise PydanticCustomError(_RULE, "{fault}", {"fault": fault})
        return value

    def from_json(value: Any) -> Any:
        # Lists are JSON in the environment and on the command line; what is none gets pydantic's fault.
        if isinstance(value, str):
            with suppress(orjson.JSONDecodeError):
                return orjson.loads(value)
        return value

    is_list = get_origin(hint) is tuple
    return Annotated[hint, BeforeValidator(from_json) if is_list else None, AfterValidator(check)]


def _by_section(overrides: Iterable[str]) -> dict[str, dict[str, str]]:
    sections: dict[str, dict[str, str]] = {}
    for override in overrides:
        path, _, value = override.partition("=")
        section, _, option = path.strip().partition(".")
        sections.setdefault(section, {})[option] = value
    return sections


def _strange_sections() -> dict[str, dict[str, str]]:
    # The source above looks only for sections that there are.
    options = (name.removeprefix(_PREFIX).lower() for name in os.environ if name.startswith(_PREFIX) and "__" in name)
    return {section: {} for section in (option.partition("__")[0] for option in options) if section not in SECTIONS}


def _settled(read: BaseModel) -> Settings:
    sections: dict[str, Any] = {}
    faults: list[str] = []
    for section, options in SECTIONS.items():
        given = getattr(read, section)
        try:
            sections[section] = options(**{name: getattr(given, name) for name in given.model_fields_set})
        except ValueError as error:  # The section's own check of its options against each other.
            faults.append(f"{section}.{error}".replace(" must", ": must", 1))
    if faults:
        raise SettingsError(faults)
    return Settings(**sections)


# -- faults ------------------------------------------------------------------------------------------------------------


def _fault_of(detail: ErrorDetails) -> str:
    """One line: the option's path, what it must be, what it is."""
    section, option = (*(str(part) for part in detail["loc"]), "")[:2]
    if detail["type"] == "extra_forbidden":
        return _unknown(section, option)
    if not option:
        return f"{section}: must be a table of options, got {_shown(detail['input'])}"
    kind = get_type_hints(SECTIONS[section])[option]
    wanted = detail["msg"] if detail["type"] == _RULE else f"must be {_WORDS.get(kind, 'a list')}"
    return f"{section}.{option}: {wanted}, got {'***' if _is_secret(section, option) else _shown(detail['input'])}"


def _unknown(section: str, option: str) -> str:
    known = [one.name for one in fields(SECTIONS[section])] if option else list(SECTIONS)
    close = get_close_matches(option or section, known, n=1)
    path, kind = (f"{section}.{option}", "option") if option else (section, "section")
    return f"{path}: is no {kind}" + (f"; did you mean {close[0]}?" if close else "")


def _shown(value: object) -> str:
    # An address may carry a password; a list or a table may be long.
    spelled = orjson.dumps(value, default=str).decode()
    return re.sub(r"//[^/@]*@", "//***@", spelled)[:200]


def _contradictions(settings: Settings) -> Iterator[str]:
    yield from clients.faults_of(settings.kafka)
    yield from _name_faults(settings)
    kafka, kmp_s, genesys_s = settings.kafka, settings.kmp, settings.genesys
    if kmp_s.timeout_s * 1000 >= kafka.rebalance_timeout_ms:
        # On a rebalance the POSTs in flight are waited for.
        limit = f"kafka.rebalance_timeout_ms ({kafka.rebalance_timeout_ms})"
        yield f"kmp.timeout_s: must be below {limit}, got {kmp_s.timeout_s:g}"
    if kmp_s.backoff_first_s > kmp_s.backoff_cap_s:
        yield f"kmp.backoff_first_s: must not be above kmp.backoff_cap_s ({kmp_s.backoff_cap_s:g})"
    if genesys_s.reconnect_first_s > genesys_s.reconnect_cap_s:
        yield f"genesys.reconnect_first_s: must not be above genesys.reconnect_cap_s ({genesys_s.reconnect_cap_s:g})"
    if settings.ranking.relevance_weight + settings.ranking.confidence_weight == 0:
        yield "ranking.relevance_weight: must not be 0 while ranking.confidence_weight is 0"


def _name_faults(settings: Settings) -> Iterator[str]:
    seen: dict[str, str] = {}
    for option in (one.name for one in fields(TopicsOptions) if one.type is str):
        name = getattr(settings.topics, option)
        if not _TOPIC.fullmatch(settings.kafka.prefix + name):
            yield f"topics.{option}: must be 1 to 249 letters, digits, '.', '_', '-', got {_shown(name)}"
        elif name in seen:
            yield f"topics.{option}: must not be the same as topics.{seen[name]}, got {_shown(name)}"
        seen[name] = option
