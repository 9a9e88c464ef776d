"""Trial of a collector's rights at the NATS server, without a job and without anybody's."""

from __future__ import annotations

import secrets

from nats.errors import Error

from auditor.errors import NatsAway
from auditor.gather.nats.connection import NatsConnection
from auditor.gather.nats.messages import SERVICE, collect_subject, job_subject, seen_subject
from auditor.values.collector_roll import CollectorRoll
from auditor.values.text import for_detail


async def try_rights(connection: NatsConnection, region: str) -> CollectorRoll:
    """Subscribe for a moment to what a collector of the region hears, and write where it speaks, for no job.

    region: "" tries what a collector of any region hears. Returns a roll of nobody, with what was refused. Raises
    `NatsAway` where the connection is lost meanwhile.
    """
    subjects, job = [f"$SRV.PING.{SERVICE}"], secrets.token_hex(16)
    if region:
        # Outside the queue group: whoever serves the region goes on to get every request.
        subjects += [collect_subject(region), job_subject(region, job)]
    before = len(connection.refusals)
    client = connection.client
    try:
        heard = [await client.subscribe(subject) for subject in subjects]
        if region:
            await client.publish(seen_subject(region, job), b"")
        await connection.settle()
        for subscription in heard:
            await subscription.unsubscribe()
    except (Error, OSError) as error:
        words = for_detail(str(error)) or type(error).__name__
        raise NatsAway(f"{connection.login.server}: {words}") from None
    refused = connection.refusals[before:]
    return CollectorRoll(
        server=str(connection.login.server),
        user=connection.login.user,
        asks_for_login=client.asks_for_login,
        collectors=(),
        regions=(),
        refused=refused[0] if refused else "",
    )
