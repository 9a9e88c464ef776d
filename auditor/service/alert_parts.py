"""Parts from the settings of alerts: notifiers with their secrets, and the policy of alerting."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypedDict

from pydantic import SecretStr

from alerts.models import Incident, Notification, NotifyReason, Policy, Route, Status
from alerts.notifiers.alertmanager import Alertmanager
from alerts.notifiers.heartbeat import Heartbeat, HeartbeatKind
from alerts.notifiers.http import CallOptions
from alerts.notifiers.interface import Notifier
from alerts.notifiers.message_templates import SHIPPED, BodyTemplate, shipped_text
from alerts.notifiers.pagerduty import PagerDuty
from alerts.notifiers.slack import Slack
from alerts.notifiers.trust import TlsFiles
from alerts.notifiers.webhook import Webhook
from alerts.sender import Sender
from auditor.checks.idents import Ident
from auditor.errors import ConfigError, DeliveryError, UsageError
from auditor.service.alert_checks import unknown_check
from auditor.service.parts import ENVIRONMENT
from auditor.service.version import VERSION
from auditor.settings.alerts import (
    AlertmanagerSettings,
    AnyNotifier,
    AuthorizedCalls,
    PagerDutySettings,
    SlackSettings,
    WebhookSettings,
)
from auditor.settings.consul import ConsulSettings
from auditor.settings.file import Config, found_by_everybody
from auditor.values.findings import Severity
from auditor.values.guide import PROGRAM, Guide
from auditor.values.text import for_log


def build_sender(config: Config, config_file: Path | None) -> Sender:
    """Build what every message says of its sender.

    config_file: the file that `config` was read from; commands name it where not every call on this machine finds it.
    """
    program, named = config.alerts.command, None
    # A program of one's own knows its configuration.
    if program == PROGRAM and config_file is not None and not found_by_everybody(config_file):
        named = str(config_file.absolute())
    guide = Guide(program, named, docs_url=config.alerts.docs_url)
    # A record that is no JSON under one key is not remembered as it can be written again.
    restorable = {Ident.REGISTRATION_VANISHED} if config.consul.layout == "kv-json" else set()
    return Sender(guide, VERSION, frozenset({Ident.DUPLICATE_ADDRESS}), frozenset(restorable))


def build_notifiers(config: Config, config_file: Path | None = None) -> tuple[Notifier, ...]:
    """Build the notifiers that the settings name. Raises `ConfigError`, never with a secret.

    config_file: see `build_sender`.
    """
    sender = build_sender(config, config_file)
    for settings in config.notifiers:
        if unknown := unknown_check(settings.checks):
            raise ConfigError(f"notifiers.{settings.name}.checks: {unknown}")
    return tuple(_notifier(settings, sender) for settings in config.notifiers)


def choose_notifiers(
    config: Config, name: str | None, config_file: Path | None = None
) -> tuple[Notifier, ...]:
    """Build all notifiers, or the one of that name. Raises `UsageError` where there is none, and `ConfigError`."""
    notifiers = build_notifiers(config, config_file)
    if not notifiers:
        raise UsageError(
            "alerts: no [[notifiers]] in the configuration; docs/alerts.md has an example of each type"
        )
    chosen = tuple(notifier for notifier in notifiers if name in (None, notifier.name))
    if not chosen:
        names = ", ".join(notifier.name for notifier in notifiers)
        raise UsageError(f"alerts: no notifier is called {name}; there are {names}")
    return chosen


def _notifier(settings: AnyNotifier, sender: Sender) -> Notifier:
    options = _options(settings)
    if isinstance(settings, PagerDutySettings):
        key = settings.resolved_key(ENVIRONMENT)
        return PagerDuty(
            name=settings.name,
            routing_key=key,
            timeout=settings.timeout,
            api=settings.api,
            sender=sender,
            options=options,
        )
    url = settings.resolved_url(ENVIRONMENT)
    name, timeout, most = settings.name, settings.timeout, settings.max_per_message
    if isinstance(settings, SlackSettings):
        return Slack(
            name=name, url=url, timeout=timeout, max_per_message=most, sender=sender, options=options
        )
    if isinstance(settings, AlertmanagerSettings):
        return Alertmanager(
            name=name, url=url, timeout=timeout, max_per_message=most, sender=sender, options=options
        )
    return _webhook(settings, url, options, sender)


def _options(settings: AnyNotifier) -> CallOptions:
    if not isinstance(settings, AuthorizedCalls):
        return CallOptions(accept=settings.accept)
    return CallOptions(
        headers=(*settings.headers.items(), *settings.header_files.items()),
        bearer_token_file=settings.bearer_token_file,
        tls=TlsFiles(settings.ca_file, settings.cert_file, settings.key_file),
        accept=settings.accept,
    )


def _webhook(settings: WebhookSettings, url: SecretStr, options: CallOptions, sender: Sender) -> Webhook:
    limits = SHIPPED.get(settings.template or "")
    most = settings.max_per_message
    webhook = Webhook(
        name=settings.name,
        url=url,
        secret=settings.resolved_secret(ENVIRONMENT),
        timeout=settings.timeout,
        max_per_message=min(most, limits.per_message) if limits else most,
        pause=limits.pause if limits else 0.0,
        sender=sender,
        options=options,
        template=_template(settings),
    )
    if webhook.template is not None:
        for status in Status:
            try:
                webhook.payload([_sample(settings.name, status)])
            except DeliveryError as error:
                raise ConfigError(f"notifiers.{settings.name}.template: {error}") from None
    return webhook


def _template(settings: WebhookSettings) -> BodyTemplate | None:
    """Read the template that the settings name. Raises `ConfigError`."""
    named, place = settings.template, f"notifiers.{settings.name}.template"
    if named is None:
        return None
    if named in SHIPPED:
        return BodyTemplate(shipped_text(named), settings.template_values)
    if not re.search(r"[/.]", named):
        raise ConfigError(
            f"{place}: there is no {for_log(named)}; it is one of {', '.join(SHIPPED)}, or a file, such as ./{named}"
        )
    path = Path(named).expanduser()
    try:
        return BodyTemplate(path.read_text(encoding="utf-8"), settings.template_values)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a text file"
        raise ConfigError(f"{place}: cannot read {for_log(str(path))}: {reason}") from None


def _sample(notifier: str, status: Status) -> Notification:
    """Make a notification with as few values as there can be: a template must do with it."""
    about = Incident(
        fingerprint="0" * 16,
        check="sample",
        severity=Severity.WARNING,
        subject="",
        address="",
        summary="",
        guess="",
        nodes=(),
        regions=(),
    )
    return Notification(notifier, NotifyReason.TEST, status, about)


def build_heartbeat(config: Config) -> Heartbeat | None:
    """Build the heartbeat that the settings name, if there is one. Raises `ConfigError`, never with the URL."""
    settings = config.alerts
    url = settings.resolved_heartbeat(ENVIRONMENT)
    if url is None:
        return None
    left_out = {
        *([] if settings.heartbeat_start else [HeartbeatKind.START]),
        *([] if settings.heartbeat_fail else [HeartbeatKind.FAILURE]),
    }
    return Heartbeat(url, settings.heartbeat_method, frozenset(HeartbeatKind) - left_out)


def build_alert_policy(config: Config) -> Policy:
    """Build the policy of alerting: routes and thresholds."""
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
    """Name the audited datacenters, as far as the settings do; None: every one."""
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
