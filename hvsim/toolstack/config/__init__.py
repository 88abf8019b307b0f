"""Guest configs in xl.cfg(5) syntax, with the error texts of xl 4.17."""

from hvsim.toolstack.config.disk import DiskConfig, parse_disk
from hvsim.toolstack.config.domain import DomainConfig, parse_config
from hvsim.toolstack.config.errors import ConfigError
from hvsim.toolstack.config.vif import VifConfig, parse_vif

__all__ = [
    "ConfigError",
    "DiskConfig",
    "DomainConfig",
    "VifConfig",
    "parse_config",
    "parse_disk",
    "parse_vif",
]
