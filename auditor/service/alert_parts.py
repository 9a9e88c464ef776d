"""The parts that the alerts' settings name: notifiers with their secrets, and the policy of what is alerted when."""

from __future__ import annotations

from typing import TypedDict

from alerts.models import Policy, Route
from alerts.notifiers.alertmanager import Alertmanager
from alerts.notifiers.interface import Notifier
from alerts.notifiers.pagerduty import PagerDuty
from alerts.notifiers.slack import Slack
from alerts.notifiers.webhook import Webhook
from auditor.errors import ConfigError, UsageError
from auditor.service.alert_checks import unknown_check
from auditor.service.parts import ENVIRONMENT
from auditor.settings.alerts import AlertmanagerSettings, AnyNotifier, PagerDutySettings, SlackSettings
from auditor.settings.consul import ConsulSettings
from auditor.settings.file import Config


def build_notifiers(config: Config) -> tuple[Notifier, ...]:
    """Build the notifiers that the settings name. Raises `ConfigError`, never with a secret."""
    for settings in config.notifiers:
        if unknown := unknown_check(settings.checks):
            raise ConfigError(f"notifiers.{settings.name}.checks: {unknown}")
    return tuple(_notifier(settings, config.alerts.docs_url) for settings in config.notifiers)


def choose_notifiers(config: Config, name: str | None) -> tuple[Notifier, ...]:
    """Build all notifiers, or the one of that name. Raises `UsageError` where there is none, and `ConfigError`."""
    notifiers = build_notifiers(config)
    if not notifiers:
        raise UsageError(
            "alerts: no [[notifiers]] in the configuration; docs/alerts.md has an example of each type"
        )
    chosen = tuple(notifier for notifier in notifiers if name in (None, notifier.name))
    if not chosen:
        names = ", ".join(notifier.name for notifier in notifiers)
        raise UsageError(f"alerts: no notifier is called {name}; there are {names}")
    return chosen


def _notifier(settings: AnyNotifier, docs_url: str) -> Notifier:
    if isinstance(settings, PagerDutySettings):
        key = settings.resolved_key(ENVIRONMENT)
        return PagerDuty(
            name=settings.name, routing_key=key, timeout=settings.timeout, api=settings.api, docs_url=docs_url
        )
    url = settings.resolved_url(ENVIRONMENT)
    name, timeout, most = settings.name, settings.timeout, settings.max_per_message
    if isinstance(settings, SlackSettings):
        return Slack(name=name, url=url, timeout=timeout, max_per_message=most, docs_url=docs_url)
    if isinstance(settings, AlertmanagerSettings):
        return Alertmanager(name=name, url=url, timeout=timeout, max_per_message=most, docs_url=docs_url)
    secret = settings.resolved_secret(ENVIRONMENT)
    return Webhook(
        name=name, url=url, secret=secret, timeout=timeout, max_per_message=most, docs_url=docs_url
    )


def build_alert_policy(config: Config) -> Policy:
    """Build the policy of what is alerted to whom, and when."""
    return Policy(
        routes=tuple(map(_route, config.notifiers)),
        blind_after=config.alerts.blind_after,
        blind_below=config.alerts.blind_below,
        **_audited(config.consul),
    )


class _Audited(TypedDict, total=False):
    datacenters: frozenset[str]
    left_out: frozenset[str]


def _audited(settings: ConsulSettings) -> _Audited:
    """Which datacenters are audited, as far as the settings name them."""
    named = settings.datacenters
    if settings.every_datacenter:
        return {"left_out": frozenset(settings.left_out)}
    if settings.file is not None and len(named) > 1:
        return {"datacenters": frozenset({""})}  # an export holds one datacenter, and does not say which
    return {"datacenters": frozenset(named or ("",))}


def _route(settings: AnyNotifier) -> Route:
    # An Alertmanager forgets what it is not sent again, and takes it for resolved.
    every_sweep = isinstance(settings, AlertmanagerSettings)
    return Route(
        notifier=settings.name,
        min_severity=settings.min_severity,
        checks=frozenset(settings.checks),
        regions=frozenset(settings.regions),
        send_resolved=settings.send_resolved,
        repeat_interval=0.0 if every_sweep else settings.repeat_interval,
    )
