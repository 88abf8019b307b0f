"""Guest configs in xl.cfg(5) syntax: what xl 4.17 makes of them, with its texts and exit codes.

lexer.py syntax.py settings.py   text -> tokens -> assignments -> values by key
keys.py                          every key: how it is read, what becomes of it here
reading.py                       the values -> libxl_domain_config, in xl's order, by
  meaning.py                       what has been understood so far, and
  guest.py device_keys.py devices.py affinity.py cpulist.py passing.py hvm.py
                                 which read one group of keys each
disk.py vif.py rate.py           the two devices that we serve
libxl_json.py                    libxl_domain_config as JSON
domain.py                        what of all that this host acts on
"""

from hvsim.toolstack.config.disk import DiskConfig, parse_disk
from hvsim.toolstack.config.domain import DomainConfig, Host, parse_config
from hvsim.toolstack.config.errors import ConfigError
from hvsim.toolstack.config.vif import VifConfig, parse_vif, words_of

__all__ = [
    "ConfigError",
    "DiskConfig",
    "DomainConfig",
    "Host",
    "VifConfig",
    "parse_config",
    "parse_disk",
    "parse_vif",
    "words_of",
]
