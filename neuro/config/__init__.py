"""What an operator can set: one schema, one loader, one text.

Owns reading of flags, environment and file into frozen, checked values. Never puts a secret's
content into them, and never acts on a value: that is the composition root's business.
"""

from __future__ import annotations

from neuro.config.load import LoadedConfig, load_config
from neuro.config.option import Option
from neuro.config.schema import OPTIONS, Config

__all__ = ["OPTIONS", "Config", "LoadedConfig", "Option", "load_config"]
