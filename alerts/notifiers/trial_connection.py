"""Connection to where a notifier's calls go, without a call: name, TCP, TLS. Nothing is sent, so nobody is paged."""

from __future__ import annotations

import asyncio
import os
import ssl
from urllib.parse import urlsplit

from pydantic import SecretStr

from alerts.notifiers.http import NO_OPTIONS, CallOptions, target_of, why_not_connected
from alerts.notifiers.trust import tls_context
from auditor.errors import DeliveryError

_PORTS = {"http": 80, "https": 443}


async def try_connection(url: SecretStr, *, timeout: float, options: CallOptions = NO_OPTIONS) -> str:  # noqa: ASYNC109
    """Connect, and close again. Returns in one line what answered. Raises `DeliveryError`, never with a secret.

    Headers and certificates of the options are read, and a proxy of the environment is connected to in the host's
    place. timeout: seconds.
    """
    target = target_of(url.get_secret_value(), options, ())
    through = target.proxy is not None
    split = urlsplit(target.proxy.url.get_secret_value() if target.proxy is not None else target.url)
    place = str(target.proxy) if through else target.place
    secure = split.scheme == "https"
    context = tls_context(options.tls, os.environ) if secure else None
    host, port = split.hostname or "", split.port or _PORTS[split.scheme]
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except TimeoutError:
        raise DeliveryError(
            target.clean(f"no connection to {place} within {timeout:g} s"), permanent=False
        ) from None
    except (OSError, ssl.SSLError) as error:
        raise DeliveryError(target.clean(why_not_connected(error, place)), permanent=False) from None
    except UnicodeError:
        raise DeliveryError(
            target.clean(f"{place} is not a host's name"), permanent=False, local=True
        ) from None
    writer.close()
    trusted = ", and its certificate is trusted" if secure else ""
    if through:
        return target.clean(f"{place} takes connections{trusted}; what is behind it was not tried")
    return target.clean(f"{place} takes connections{trusted}")
