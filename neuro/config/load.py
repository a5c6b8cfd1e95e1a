"""From flags, environment and file to one checked Config.

Owns the order (flags, then `NEUROCACHE_*`, then the file, then defaults), the source of each value,
and the list of faults. Never stops at the first fault: an operator repairs a file once, not once
for each.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuro.config.rules import find_conflicts
from neuro.config.schema import OPTIONS, SECTIONS, Config
from neuro.config.toml_lines import KeyPath, find_key_lines
from neuro.errors import ConfigError, UnitError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neuro.config.option import Option

CONFIG_FILE_BYTES_MAX = 1 << 20  # a configuration, not a data set
_ENVIRONMENT_PREFIX = "NEUROCACHE_"
_CONFIG_VARIABLE = "NEUROCACHE_CONFIG"
# Kubernetes puts variables like these into every pod beside a Service named "neurocache".
_FOREIGN_VARIABLE = re.compile(r"NEUROCACHE_(SERVICE_(HOST|PORT).*|PORT|PORT_[0-9]+_(TCP|UDP).*)")
# Read by the build and the test suite; `make serve` inherits what was set for `make build`.
_DEVELOPMENT_VARIABLES = (
    "NEUROCACHE_CC",
    "NEUROCACHE_FREEZE_SITE",
    "NEUROCACHE_PYTHON",
    "NEUROCACHE_REQUIRE_ALL",
    "NEUROCACHE_ZIG_OPTIMIZE",
)


@dataclass(frozen=True, slots=True)
class EffectiveValue:
    """What an option is set to, and by what."""

    option: Option
    value: Any
    source: str


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A configuration without faults."""

    config: Config
    values: tuple[EffectiveValue, ...]
    file: Path | None


@dataclass(slots=True)
class _Gathering:
    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)

    def set(self, option: Option, value: Any, source: str) -> None:
        self.values[option.path] = value
        self.sources[option.path] = source

    def fault(self, option: Option, source: str, reason: str) -> None:
        self.faults.append(f"{source}: {option.path}: {reason}")
        self.broken.add(option.path)


def load_config(
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    *,
    config_file: Path | None = None,
    directory: Path | None = None,
) -> LoadedConfig:
    """Reads, merges and checks everything.

    Args:
        flags: Texts of the flags that were given, by `Option.flag`.
        environ: The process's environment.
        config_file: What `--config` named; it must exist.
        directory: Where `neurocache.toml` is looked for; the working directory when None.

    Raises:
        ConfigError: one or more faults; all of them are in `faults`.
    """
    gathering = _Gathering()
    base = directory if directory is not None else Path.cwd()
    file = _find_file(gathering, environ, config_file, base)
    if file is not None:
        _read_file(gathering, file, base)
    _read_environment(gathering, environ, base)
    _read_flags(gathering, flags, base)
    _fill_defaults(gathering)
    if not gathering.broken:
        gathering.faults.extend(find_conflicts(gathering.values, gathering.sources))
    if gathering.faults:
        count = len(gathering.faults)
        raise ConfigError(
            f"the configuration has {count} fault{'s' if count > 1 else ''}",
            faults=tuple(gathering.faults),
        )
    effective = tuple(
        EffectiveValue(option, gathering.values[option.path], gathering.sources[option.path])
        for option in OPTIONS
    )
    return LoadedConfig(_build_config(gathering.values), effective, file)


def _find_file(
    gathering: _Gathering, environ: Mapping[str, str], config_file: Path | None, base: Path
) -> Path | None:
    source = "--config"
    named = config_file
    if named is None and environ.get(_CONFIG_VARIABLE):
        source = _CONFIG_VARIABLE
        named = Path(environ[_CONFIG_VARIABLE])
    if named is not None:
        path = base / named.expanduser()
        if path.is_file():
            return path
        gathering.faults.append(f"{source}: there is no file `{named}`")
        return None
    return next((path for path in default_files(environ, base) if path.is_file()), None)


def default_files(environ: Mapping[str, str], base: Path) -> tuple[Path, ...]:
    """Where a configuration is looked for when none is named; the first that exists is read."""
    home = environ.get("HOME", "")
    user = environ.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    return (
        base / "neurocache.toml",
        *([Path(user, "neurocache", "config.toml")] if user else []),
        Path("/etc/neurocache/config.toml"),
    )


def _read_file(gathering: _Gathering, file: Path, base: Path) -> None:
    name = str(file.relative_to(base)) if file.is_relative_to(base) else str(file)
    try:
        with file.open("rb") as stream:
            text = stream.read(CONFIG_FILE_BYTES_MAX + 1).decode("utf-8")
        if len(text) > CONFIG_FILE_BYTES_MAX:
            gathering.faults.append(f"{name}: larger than 1 MiB")
            return
        document = tomllib.loads(text)
    except OSError as error:
        gathering.faults.append(f"{name}: cannot be read: {error.strerror}")
        return
    except UnicodeDecodeError as error:
        gathering.faults.append(f"{name}: not UTF-8 at byte {error.start}")
        return
    except tomllib.TOMLDecodeError as error:
        match = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        where = f"{name}:{match[1]}" if match else name
        reason = re.sub(r" \(at .*\)", "", str(error))
        reason = reason[:1].lower() + reason[1:]
        gathering.faults.append(f"{where}: not valid TOML: {reason}")
        return
    lines = find_key_lines(text)
    for section, table in document.items():
        _read_table(gathering, name, lines, section, table, file.parent)


def _read_table(
    gathering: _Gathering,
    name: str,
    lines: Mapping[KeyPath, int],
    section: str,
    table: object,
    directory: Path,
) -> None:
    def where(*path: str) -> str:
        number = lines.get(path) or lines.get(path[:1])
        return f"{name}:{number}" if number else name

    if section not in SECTIONS:
        is_section = isinstance(table, dict)
        kind = "section" if is_section else "key"
        gathering.faults.append(
            f"{where(section)}: unknown {kind} `{section}`{_suggest(section, is_section)}"
        )
        return
    if not isinstance(table, dict):
        gathering.faults.append(
            f"{where(section)}: `{section}` is a section: write `[{section}]` above its keys"
        )
        return
    options = {option.key: option for option in OPTIONS if option.section == section}
    for key, item in table.items():
        source = where(section, key)
        option = options.get(key)
        if option is None:
            path = f"{section}.{key}"
            gathering.faults.append(f"{source}: unknown key `{path}`{_suggest(path, False)}")
            continue
        try:
            value = option.kind.parse_toml(item)
        except UnitError as error:
            gathering.fault(option, source, error.message)
            continue
        _accept(gathering, option, value, source, directory)


def _read_environment(gathering: _Gathering, environ: Mapping[str, str], base: Path) -> None:
    options = {option.environment_name: option for option in OPTIONS}
    for name, text in sorted(environ.items()):
        if not name.startswith(_ENVIRONMENT_PREFIX) or name == _CONFIG_VARIABLE:
            continue
        if name in _DEVELOPMENT_VARIABLES or _FOREIGN_VARIABLE.fullmatch(name):
            continue
        option = options.get(name)
        if option is None:
            near = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            gathering.faults.append(f"environment: unknown variable `{name}`{hint}")
            continue
        _read_text(gathering, option, text, name, base)


def _read_flags(gathering: _Gathering, flags: Mapping[str, str], base: Path) -> None:
    for option in OPTIONS:
        if option.flag in flags:
            _read_text(gathering, option, flags[option.flag], option.flag, base)


def _read_text(
    gathering: _Gathering, option: Option, text: str, source: str, directory: Path
) -> None:
    try:
        value = option.kind.parse(text)
    except UnitError as error:
        gathering.fault(option, source, error.message)
        return
    _accept(gathering, option, value, source, directory)


def _accept(
    gathering: _Gathering, option: Option, value: Any, source: str, directory: Path
) -> None:
    """Checks the range, makes paths absolute, and lets the value win over weaker sources."""
    low, high = option.minimum, option.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        gathering.fault(
            option,
            source,
            f"`{option.format(value)}` is out of range: "
            f"from {option.format(low)} to {option.format(high)}",
        )
        return
    if option.kind.is_path:
        value = (directory / value.expanduser()).absolute()
    gathering.set(option, value, source)


def _fill_defaults(gathering: _Gathering) -> None:
    for option in OPTIONS:
        if option.path not in gathering.values:
            value = option.default if option.derive is None else option.derive(gathering.values)
            gathering.set(option, value, "default")


def _suggest(path: str, is_section: bool) -> str:
    """The nearest known name as the end of a sentence, or nothing."""
    if is_section:
        names = list(SECTIONS)
    else:
        names = [option.path for option in OPTIONS]
        key = path.rpartition(".")[2]
        same = [option.path for option in OPTIONS if option.key == key]
        if same:
            return f"; did you mean `{same[0]}`?"
    near = difflib.get_close_matches(path, names, n=1, cutoff=0.6)
    return f"; did you mean `{near[0]}`?" if near else ""


def _build_config(values: Mapping[str, Any]) -> Config:
    sections = {
        section: section_type(
            **{
                option.attribute: values[option.path]
                for option in OPTIONS
                if option.section == section
            }
        )
        for section, section_type in SECTIONS.items()
    }
    return Config(**sections)
