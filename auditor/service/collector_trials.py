"""Trials of collectors: whether the NATS server lets us in and nobody else, and whether each region is served."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from ipaddress import ip_address

from auditor.errors import ConfigError, GapReason, NatsAway
from auditor.service import parts
from auditor.service.collectors_there import collectors_there, rights_there
from auditor.service.consul_trials import CORRECT
from auditor.service.version import VERSION
from auditor.settings.collectors import CollectorSettings
from auditor.settings.file import Config
from auditor.values.collector_roll import CollectorRoll
from auditor.values.guide import Guide
from auditor.values.text import count, listed
from auditor.values.trials import Trial, TrialOutcome

_SERVER = "collectors: NATS"
_MOST_NAMED = 10


async def collector_trials(config: Config, guide: Guide) -> tuple[Trial, ...]:
    """Ask the NATS server and the regions' collectors who is there. Opens no job."""
    settings = config.collectors
    if not settings.nats:
        return ()
    roll = await _rolled(settings, collectors_there(config, lambda _: None))
    if isinstance(roll, Trial):
        return (roll,)
    return (*_server(settings, roll, "the auditor's"), *_regions(settings, roll, guide), *_versions(roll))


def is_of_collector(config: Config) -> bool:
    """Tell whether a configuration is a collector's own: a NATS server, no regions to ask, and no registry."""
    return bool(
        config.collectors.nats and not config.collectors.regions and "consul" not in config.model_fields_set
    )


async def own_trials(config: Config, region: str) -> tuple[Trial, ...]:
    """Try what a collector needs by its own configuration. Takes no job, and logs in to no node.

    region: the one that it is to serve; "": not known.
    """
    settings = config.collectors
    roll = await _rolled(settings, rights_there(config, region, lambda _: None))
    if isinstance(roll, Trial):
        return (roll, _identities(config))
    server = list(_server(settings, roll, "a collector's"))
    if not roll.refused:
        got = (
            f"it may take jobs of {region}, and speak into them"
            if region
            else "it hears what is asked of all"
        )
        server.append(Trial(f"{_SERVER}: permissions", roll.server, got, TrialOutcome.WORKS))
    return (*server, _identities(config))


def _identities(config: Config) -> Trial:
    """Report whether what it logs in to nodes by can be read."""
    part = "SSH identities and host keys"
    tried = listed(map(str, config.ssh.identity_files), most=_MOST_NAMED, last=", ") or "[ssh]"
    try:
        parts.build_nodes(config)
    except ConfigError as error:
        return Trial(part, tried, str(error), TrialOutcome.FAILS, CORRECT)
    return Trial(part, tried, "can be read", TrialOutcome.WORKS)


async def _rolled(settings: CollectorSettings, asking: Awaitable[CollectorRoll]) -> CollectorRoll | Trial:
    """Wait for the server's answers; where it gives none, return the trial that says why."""
    try:
        return await asking
    except ConfigError as error:
        return Trial(_SERVER, settings.nats, str(error), TrialOutcome.FAILS, CORRECT)
    except NatsAway as away:
        todo = "see docs/collectors.md: the server, its certificate, and the nkeys that it lets in"
        return Trial(_SERVER, settings.nats, str(away), TrialOutcome.FAILS, todo, GapReason.COLLECTOR_MISSING)


def _server(settings: CollectorSettings, roll: CollectorRoll, whose: str) -> Iterator[Trial]:
    """Report the server: who is let in, how it is spoken to, what is refused. whose: permissions that are needed."""
    got = f"lets the user {roll.user} in" if roll.user else "reached, without a login"
    yield Trial(_SERVER, roll.server, got, TrialOutcome.WORKS)
    if not roll.asks_for_login:
        yield Trial(
            f"{_SERVER}: login",
            roll.server,
            "lets everybody in: whoever reaches it can pass for a collector of any region",
            TrialOutcome.WARNS,
            "give it users by nkey, with the permissions of docs/collectors.md",
        )
    server = settings.server
    if server is not None and not server.tls and not _loopback(server.host):
        yield Trial(
            f"{_SERVER}: TLS",
            roll.server,
            "is spoken to in the clear: whoever is between reads and changes what nodes showed",
            TrialOutcome.WARNS,
            "give it a certificate, and write tls:// and ca_file",
        )
    if roll.refused:
        todo = f"give this user {whose} permissions of docs/collectors.md"
        yield Trial(f"{_SERVER}: permissions", roll.server, roll.refused, TrialOutcome.FAILS, todo)


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _regions(settings: CollectorSettings, roll: CollectorRoll, guide: Guide) -> Iterator[Trial]:
    """Report the regions that are served in one line, and each that is not in its own."""
    if not roll.regions:
        yield Trial(
            "collectors",
            "collectors.regions",
            "none: no collector is asked for any node",
            TrialOutcome.WARNS,
            "name the regions whose nodes collectors look at; a collector's own configuration needs none",
        )
        return
    served = [region for region in roll.regions if region.served]
    if served:
        names = listed((f"{item.region} ({item.collector})" for item in served), most=_MOST_NAMED, last=", ")
        got = f"{count(len(served), 'region')} answered: {names}"
        yield Trial("collectors", f"{count(len(roll.regions), 'region')} by name", got, TrialOutcome.WORKS)
    local = settings.fallback == "local"
    outcome = TrialOutcome.WARNS if local else TrialOutcome.FAILS
    meanwhile = "; its nodes are looked at from here" if local else "; its nodes are gaps"
    for region in roll.missing:
        todo = f"start `wgaudit collector --region {region.region}` there; {guide.mention('collectors')} lists who is"
        yield Trial(
            f"collectors: {region.region}",
            f"a collector of {region.region}",
            f"{region.detail}{meanwhile}",
            outcome,
            todo,
            GapReason.COLLECTOR_MISSING,
        )


def _versions(roll: CollectorRoll) -> Iterator[Trial]:
    others = [item for item in roll.collectors if item.version != VERSION]
    if others:
        names = listed(
            (f"{item.region} {item.host} has {item.version}" for item in others), most=_MOST_NAMED, last=", "
        )
        yield Trial(
            "collectors: versions",
            count(len(roll.collectors), "collector"),
            f"this is {VERSION}; {names}",
            TrialOutcome.WARNS,
            "bring all to one version, collectors first",
        )
