"""Roll call of collectors: asks all that there are for what they are about, and each region whether it is served."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable
from typing import Annotated

from nats.errors import Error, NoRespondersError
from nats.errors import TimeoutError as NoAnswer
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from auditor.errors import InvalidValue, NatsAway
from auditor.gather.nats.connection import NatsConnection
from auditor.gather.nats.messages import SERVICE, OpenJob, collect_subject, read_answer, written
from auditor.gather.nats.publishing import reached_nobody
from auditor.values.collector_roll import CollectorRoll, CollectorThere, RegionServed
from auditor.values.json_bounds import check_json
from auditor.values.text import for_detail

ANSWERS_WITHIN = 2.0
"""Seconds within which collectors answer."""
QUIET = 0.5
"""Seconds without a further answer after which there are no more."""
MOST_COLLECTORS = 1000
LONGEST_ANSWER = 64 * 1024
AT_ONCE = 50
"""Regions that are asked at the same time."""

_Short = Annotated[str, Field(max_length=200)]
_Number = Annotated[int, Field(ge=0, le=2**53)]


class _Part(BaseModel):
    # What others' libraries add is not ours to refuse.
    model_config = ConfigDict(extra="ignore")


class _Data(_Part):
    jobs: _Number | None = None
    nodes: _Number | None = None
    most_jobs: _Number | None = None


class _Endpoint(_Part):
    name: _Short
    data: _Data | None = None


class _About(_Part):
    region: _Short
    host: _Short = ""
    pid: _Short = ""
    version: _Short = ""


class _Stats(_Part):
    """Answer of a service of nats.micro to `STATS`."""

    name: _Short
    id: _Short
    version: _Short
    started: AwareDatetime
    metadata: _About
    endpoints: Annotated[list[_Endpoint], Field(max_length=100)] = []


async def call_roll(connection: NatsConnection, regions: Iterable[str], device: str) -> CollectorRoll:
    """Ask who is there. device: the mesh's. Raises `NatsAway` where the connection is lost meanwhile.

    What collectors say of themselves is believed of nobody: whether a region is served is asked on its own subject.
    """
    limit = asyncio.Semaphore(AT_ONCE)

    async def asked(region: str) -> RegionServed:
        async with limit:
            return await _ask_region(connection, region, device)

    before = len(connection.refusals)
    everybody = asyncio.create_task(_ask_all(connection))
    try:
        served = await asyncio.gather(*map(asked, regions))
        found, left_out = await everybody
    finally:
        everybody.cancel()
    refused = connection.refusals[before:]
    return CollectorRoll(
        server=str(connection.login.server),
        user=connection.login.user,
        asks_for_login=connection.client.asks_for_login,
        collectors=tuple(sorted(found, key=lambda item: (item.region, item.host, item.pid, item.identity))),
        regions=tuple(served),
        left_out=left_out,
        refused=refused[0] if refused else "",
    )


async def _ask_all(connection: NatsConnection) -> tuple[list[CollectorThere], int]:
    """Ask every collector for its figures. Returns them, and how many answers could not be read."""
    found: dict[str, CollectorThere] = {}
    left_out = 0
    client = connection.client
    try:
        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox, pending_msgs_limit=MOST_COLLECTORS)
        await client.publish(f"$SRV.STATS.{SERVICE}", reply=inbox)
        loop = asyncio.get_running_loop()
        until = loop.time() + ANSWERS_WITHIN
        wait = ANSWERS_WITHIN
        while (left := until - loop.time()) > 0 and len(found) + left_out < MOST_COLLECTORS:
            try:
                message = await subscription.next_msg(min(wait, left))
            except NoAnswer:
                break
            if reached_nobody(message):
                break
            wait = QUIET
            try:
                there = _read_stats(message.data)
            except InvalidValue:
                left_out += 1
            else:
                found.setdefault(there.identity, there)
        await subscription.unsubscribe()
    except (Error, OSError) as error:
        raise NatsAway(
            f"{connection.login.server}: {for_detail(str(error)) or type(error).__name__}"
        ) from None
    return list(found.values()), left_out


def _read_stats(raw: bytes) -> CollectorThere:
    """Read what a collector says of itself. Raises `InvalidValue`."""
    if len(raw) > LONGEST_ANSWER:
        raise InvalidValue("longer than an answer may be")
    check_json(raw)
    try:
        said = _Stats.model_validate_json(raw)
    except ValidationError:
        raise InvalidValue("not what a service says of itself") from None
    if said.name != SERVICE:
        raise InvalidValue("another service")
    about = said.metadata
    data = next((item.data for item in said.endpoints if item.name == "collect" and item.data), _Data())
    return CollectorThere(
        identity=said.id,
        region=about.region,
        host=about.host,
        pid=about.pid,
        version=about.version or said.version,
        since=said.started,
        jobs=data.jobs,
        nodes=data.nodes,
        most_jobs=data.most_jobs,
    )


async def _ask_region(connection: NatsConnection, region: str, device: str) -> RegionServed:
    """Ask a region's collectors for a job without nodes, which says who is there and opens none."""
    question = OpenJob(job=secrets.token_hex(16), region=region, nodes=0, device=device)
    try:
        message = await connection.client.request(
            collect_subject(region), written(question), timeout=ANSWERS_WITHIN
        )
        answer = read_answer(message.data)
    except NoRespondersError:
        return RegionServed(region, detail="no collector serves it")
    except NoAnswer:
        return RegionServed(region, detail=f"no answer within {ANSWERS_WITHIN:.0f} s")
    except InvalidValue as error:
        return RegionServed(region, detail=f"an unreadable answer: {error}")
    except (Error, OSError) as error:
        raise NatsAway(
            f"{connection.login.server}: {for_detail(str(error)) or type(error).__name__}"
        ) from None
    if answer.job != question.job:
        return RegionServed(region, detail="an answer to another question")
    return RegionServed(
        region, collector=for_detail(answer.collector) or "?", version=for_detail(answer.version)
    )
