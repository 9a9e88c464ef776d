"""Who is there to look at nodes elsewhere: asks the collectors of a configuration, and checks what they need here."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING

from auditor.errors import ConfigError
from auditor.settings.file import Config

if TYPE_CHECKING:
    from auditor.values.collector_roll import CollectorRoll

PACKAGES = ("nats", "nkeys")


def check_packages() -> None:
    """Raise `ConfigError` where the packages of the extra `collectors` are not installed."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(f"collectors need {' and '.join(missing)}: pip install 'wgaudit[collectors]'")


def check_login(config: Config) -> None:
    """Read key and certificates, and look whether the server lies in the mesh, as it is written.

    Raises `ConfigError`. Nothing is asked over the network.
    """
    if not config.collectors.nats:
        return
    check_packages()
    from auditor.gather.nats.nats_login import read_login

    read_login(config.collectors, config.mesh.pools)


async def collectors_there(config: Config, complain: Callable[[str], None]) -> CollectorRoll:
    """Ask who is there. complain: receives a line for what happens to the connection meanwhile.

    Raises `ConfigError` and `NatsAway`.
    """
    if not config.collectors.nats:
        raise ConfigError("collectors.nats is not set: no collectors are asked; see docs/collectors.md")
    check_packages()
    from auditor.gather.nats.connection import open_nats
    from auditor.gather.nats.messages import AUDITOR_INBOX
    from auditor.gather.nats.nats_login import read_login
    from auditor.gather.nats.roll_call import call_roll

    login = read_login(config.collectors, config.mesh.pools)
    async with open_nats(login, AUDITOR_INBOX, complain) as connection:
        return await call_roll(connection, config.collectors.regions, config.mesh.device)


async def rights_there(config: Config, region: str, complain: Callable[[str], None]) -> CollectorRoll:
    """Connect as a collector with this configuration does, and try its rights. Takes no job.

    region: the one that it is to serve; "": not known. complain: as of `collectors_there`. Returns a roll of nobody.
    Raises `ConfigError` and `NatsAway`.
    """
    check_packages()
    from auditor.gather.nats.collector_rights import try_rights
    from auditor.gather.nats.connection import open_nats
    from auditor.gather.nats.messages import COLLECTOR_INBOX
    from auditor.gather.nats.nats_login import read_login

    login = read_login(config.collectors, config.mesh.pools)
    async with open_nats(login, COLLECTOR_INBOX, complain) as connection:
        return await try_rights(connection, region)
