"""Many writers at one allocator while everything that can go wrong does: `python -m tests.repair.storm`.

32 writers in four processes allocate and release through a proxy that loses, cuts and delays. Two of the
processes are killed amid their calls, and Consul is restarted once. What was interrupted is repeated later with
the same node and key. At the end Consul's own records are held against everything that anybody was told.
"""

from __future__ import annotations

import base64
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil, log2
from pathlib import Path
from queue import Queue
from typing import Any, NamedTuple

from auditor.errors import AllocationError
from auditor.registry.store import ConsulStore
from auditor.repair.claims.adoption import adopt, check
from auditor.repair.claims.allocator import Allocator
from auditor.repair.claims.registration import AllocatorPolicy
from auditor.settings.consul import ConsulSettings
from auditor.values.addresses import Prefix, PublicKey, format_prefix
from auditor.values.models import AuditPolicy
from tests.fleets import key_of
from tests.parts.chaos import EVERYTHING, ChaosProxy
from tests.parts.consul import ConsulServer

REPOSITORY = Path(__file__).resolve().parents[2]
NODES, CLAIMS = "wireguard/nodes/", "wireguard/claims/"
PROCESSES, THREADS = 4, 8
FULL, SMALL = 2000, 80
BEFORE = 50
"""Nodes that were registered before there were claims."""


class Job(NamedTuple):
    """What is asked for one node, in this order: `allocate KEY` or `release`."""

    node: str
    region: str
    steps: tuple[str, ...]


class Told(NamedTuple):
    """What one writer was told at the end of one step."""

    job: int
    step: int
    address: str
    """"" of a release."""
    refused: str
    """Why nothing was done; "" if something was."""
    retries: int


@dataclass
class Outcome:
    """A storm that is over."""

    jobs: list[Job]
    told: list[Told]
    raw: list[dict[str, Any]]
    """Every key, as Consul itself gives it."""
    differences: tuple[str, ...]
    """What `adopt --check` says."""
    killed: int = 0
    repeated: int = 0
    seconds: float = 0.0
    faults: str = ""
    injected: int = 0
    refusals: Counter[str] = field(default_factory=Counter)

    def figures(self) -> str:
        """What happened, for a test's output."""
        steps = Counter(self.jobs[one.job].steps[one.step].split()[0] for one in self.told if not one.refused)
        retries = sum(one.retries for one in self.told)
        return (
            f"{steps['allocate']:,} allocations and {steps['release']:,} releases by {PROCESSES * THREADS} writers "
            f"in {self.seconds:.0f} s; {retries:,} retries; {self.killed} processes killed, Consul restarted once, "
            f"{self.repeated} jobs repeated; refused: {dict(self.refusals)}\n{self.faults}"
        )


# -- the writers


def settings_for(nodes: int) -> AllocatorPolicy:
    """Two regions: a narrow one, in which writers meet, and a wide one."""
    bits = ceil(log2(nodes * 0.43 + BEFORE + 2))
    pools = {"fra": Prefix(f"10.1.0.0/{32 - bits}"), "sin": Prefix("10.16.0.0/12")}
    return AllocatorPolicy(registry_prefix=NODES, claims_prefix=CLAIMS, region_pools=pools, timeout=60.0)


def work(url: str, nodes: int, numbered: Sequence[tuple[int, int, Job]], threads: int) -> Iterator[None]:
    """Does jobs from the steps that are left of them, and prints a line after each step, at once."""
    store = ConsulStore(ConsulSettings(url=url, timeout=1.0), None)
    out = threading.Lock()

    def one(number: int, first: int, job: Job) -> None:
        for step in range(first, len(job.steps)):
            pauses = 0

            def pause(seconds: float) -> None:
                nonlocal pauses
                pauses += 1
                time.sleep(seconds)

            allocator = Allocator(store, settings_for(nodes), pause=pause)
            verb, _, key = job.steps[step].partition(" ")
            address = refused = ""
            try:
                if verb == "allocate":
                    address = format_prefix(allocator.allocate(job.node, PublicKey(key), job.region).address)
                else:
                    allocator.release(job.node)
            except AllocationError as error:
                refused = str(error)
            with out:
                print(json.dumps(Told(number, step, address, refused, pauses)), flush=True)  # noqa: T201
            if refused:
                return

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(one, *each) for each in numbered]:
            yield done.result()


@contextmanager
def _worker(
    folder: Path, url: str, nodes: int, jobs: Iterable[tuple[int, int, Job]], told: Queue[Told | int]
) -> Iterator[subprocess.Popen[str]]:
    """A process with eight writers. Puts what they were told, and last its own process id, into the queue."""
    file = folder / f"jobs-{time.monotonic_ns()}.json"
    file.write_text(json.dumps({"url": url, "nodes": nodes, "jobs": list(jobs)}))
    command = [sys.executable, "-m", "tests.repair.storm", "--worker", str(file)]
    process = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.endswith("\n"):  # a killed one may end amid a line
                told.put(Told(*json.loads(line)))
        told.put(process.pid)

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
        listener.join(10)
        assert process.stdout is not None
        process.stdout.close()


# -- what they are given


def jobs_for(nodes: int, seed: int) -> list[Job]:
    """A job a node; some release, some allocate anew with another key, some are asked for by two at once."""
    jobs: list[Job] = []
    for number in range(nodes):
        name, region = f"node-{number:05d}", "fra" if number % 8 < 3 else "sin"
        key, other = key_of(name), key_of(f"{name} reinstalled")
        steps: tuple[str, ...] = (f"allocate {key}",)
        if number % 10 == 0:
            steps += ("release",)
        if number % 20 == 0:
            steps += (f"allocate {other}",)
        jobs.append(Job(name, region, steps))
        if number % 15 == 7:  # the same call by another writer
            jobs.append(Job(name, region, steps[:1]))
        if number % 15 == 11:  # another server that was given the same name
            jobs.append(Job(name, region, (f"allocate {other}",)))
    random.Random(seed).shuffle(jobs)  # noqa: S311
    # Those of one node meet only if they are near each other.
    return sorted(jobs, key=lambda job: job.node[:-1])


def registered_before() -> dict[str, bytes]:
    """Registrations of a fleet that has no claims yet; one of them has the pool's first address."""
    return {
        f"{NODES}old-{number:03d}": json.dumps(
            {"public_key": key_of(f"old-{number}"), "ip": f"10.1.0.{number + 1}", "region": "fra"}
        ).encode()
        for number in range(BEFORE)
    }


# -- the storm


def storm(folder: Path, nodes: int, seed: int = 1) -> Outcome:
    """Raises one. Takes about a second for 30 nodes."""
    jobs = jobs_for(nodes, seed)
    started = time.monotonic()
    with ConsulServer(folder / "consul") as server:
        server.put_many(registered_before())
        straight = ConsulStore(ConsulSettings(url=server.url), None)
        adopt(straight, settings_for(nodes), AuditPolicy())
        with ChaosProxy(server.url, seed=seed, reads=EVERYTHING, writes=EVERYTHING) as proxy:
            outcome = Outcome(jobs, [], [], ())
            _first_pass(folder, proxy.url, nodes, server, outcome)
            left = unfinished(jobs, outcome.told)
            outcome.repeated = len(left)
            _pass(folder, proxy.url, nodes, left, outcome)
            proxy.peace()
            _pass(folder, proxy.url, nodes, unfinished(jobs, outcome.told), outcome)
            outcome.faults, outcome.injected = proxy.told(), sum(proxy.injected.values())
        outcome.raw = json.loads(server.request("GET", "/v1/kv/?recurse").body)
        outcome.differences = tuple(one.what for one in check(straight, settings_for(nodes)))
    outcome.seconds = time.monotonic() - started
    outcome.refusals = Counter(
        "another key" if "another key" in one.refused else one.refused for one in outcome.told if one.refused
    )
    return outcome


def unfinished(jobs: Sequence[Job], told: Iterable[Told]) -> list[tuple[int, int, Job]]:
    """Jobs with steps of which nobody was told the end; with their number and the first such step."""
    done: dict[int, int] = defaultdict(int)
    for one in told:
        if not one.refused:
            done[one.job] = max(done[one.job], one.step + 1)
        elif "another key" in one.refused:
            done[one.job] = len(jobs[one.job].steps)  # that is an answer, and stays one
    return [(number, done[number], job) for number, job in enumerate(jobs) if done[number] < len(job.steps)]


def _first_pass(folder: Path, url: str, nodes: int, server: ConsulServer, outcome: Outcome) -> None:
    """All jobs, in four processes; the first two are killed and Consul is restarted on the way."""
    numbered = [(number, 0, job) for number, job in enumerate(outcome.jobs)]
    queue: Queue[Told | int] = Queue()
    shares = [numbered[start::PROCESSES] for start in range(PROCESSES)]
    with _all(folder, url, nodes, shares, queue) as processes:
        turns: dict[int, Callable[[], None]] = {
            len(numbered) // 4: lambda: _kill_the_slowest(processes, outcome),
            len(numbered) * 2 // 5: server.restart,
            len(numbered) // 2: lambda: _kill_the_slowest(processes, outcome),
        }
        running = len(processes)
        while running:
            news = queue.get(timeout=180)
            if isinstance(news, int):
                running -= 1
                continue
            outcome.told.append(news)
            turn = turns.pop(len(outcome.told), None)
            if turn is not None:
                turn()
        codes = Counter(process.wait(10) for process in processes)
    if turns or codes != {0: PROCESSES - 2, -signal.SIGKILL: 2}:
        raise RuntimeError(f"the storm did not go as planned: {codes}, {len(turns)} turns left")


def _kill_the_slowest(processes: Sequence[subprocess.Popen[str]], outcome: Outcome) -> None:
    """Kills the process that is furthest from its end, amid its calls."""
    done = Counter(one.job % PROCESSES for one in outcome.told)
    running = [number for number, process in enumerate(processes) if process.poll() is None]
    processes[min(running, key=lambda number: done[number])].kill()
    outcome.killed += 1


def _pass(folder: Path, url: str, nodes: int, left: Sequence[tuple[int, int, Job]], outcome: Outcome) -> None:
    """What is left, in one process."""
    if not left:
        return
    queue: Queue[Told | int] = Queue()
    with _worker(folder, url, nodes, left, queue) as process:
        while isinstance(news := queue.get(timeout=180), Told):
            outcome.told.append(news)
        if process.wait(10):
            raise RuntimeError(f"the writers broke: exit code {process.returncode}")


@contextmanager
def _all(
    folder: Path,
    url: str,
    nodes: int,
    shares: Sequence[Sequence[tuple[int, int, Job]]],
    queue: Queue[Told | int],
) -> Iterator[list[subprocess.Popen[str]]]:
    if not shares:
        yield []
        return
    with (
        _worker(folder, url, nodes, shares[0], queue) as first,
        _all(folder, url, nodes, shares[1:], queue) as others,
    ):
        yield [first, *others]


# -- what must be so at the end


def faults(outcome: Outcome) -> list[str]:
    """Everything that is not as it must be, from Consul's raw records and what the writers were told."""
    wrong = [f"adopt --check: {text}" for text in outcome.differences]
    nodes, claims = _records(outcome.raw, NODES), _records(outcome.raw, CLAIMS)
    claims.pop("adopted")
    claims.pop("adopted-checked", None)
    keys = {key: claims.pop(key)["node"] for key in list(claims) if key.startswith("keys/")}
    if set(keys.values()) != nodes.keys() or len(keys) != len(nodes):
        wrong.append(
            f"the claims of public keys name others than the nodes: {set(keys.values()) ^ nodes.keys()}"
        )
    held = {address: claim for address, claim in claims.items() if claim["state"] == "held"}
    holders = Counter(record["ip"] for record in nodes.values())
    wrong += [f"{address} is registered {count} times" for address, count in holders.items() if count > 1]
    for name, record in nodes.items():
        claim = held.get(record["ip"], {})
        if (claim.get("node"), claim.get("public_key")) != (name, record["public_key"]):
            wrong.append(f"{name} is registered with {record['ip']}, whose claim says {claim}")
    if len(held) != len(nodes):
        wrong.append(f"{len(held)} held claims, {len(nodes)} registrations")
    for number, job in enumerate(outcome.jobs):
        wrong += _broken_word(job, [one for one in outcome.told if one.job == number], nodes, claims)
    left = unfinished(outcome.jobs, outcome.told)
    wrong += [f"{job.node}: step {step} never came to an end" for _, step, job in left]
    ends: dict[str, str] = {}
    for job in outcome.jobs:
        ends[job.node] = max(ends.get(job.node, ""), job.steps[-1].split()[0])
    expected = {node for node, last in ends.items() if last == "allocate" and not _released(outcome, node)}
    expected |= {key.removeprefix(NODES) for key in registered_before()}
    if expected != nodes.keys():
        wrong.append(f"registered, but should not be, or the reverse: {expected ^ nodes.keys()}")
    released = sum(1 for claim in claims.values() if claim["state"] == "released")
    if released != sum("release" in job.steps for job in outcome.jobs):
        wrong.append(f"{released} addresses in quarantine")
    if any(address.endswith((".0", ".255")) and address.startswith("10.1.0.0") for address in held):
        wrong.append("a network's own address was handed out")
    return wrong


def _broken_word(
    job: Job, told: Sequence[Told], nodes: dict[str, dict[str, str]], claims: dict[str, dict[str, str]]
) -> Iterator[str]:
    """Where the store does not hold what a writer of this job was told."""
    for one in told:
        if not one.address:
            continue
        key = job.steps[one.step].split()[1]
        claim = claims.get(one.address, {})
        if (claim.get("node"), claim.get("public_key")) != (job.node, key):
            yield f"{job.node} was told {one.address}, whose claim says {claim}"
        record = nodes.get(job.node, {})
        if "release" not in job.steps[one.step :] and (record.get("ip"), record.get("public_key")) != (
            one.address,
            key,
        ):
            yield f"{job.node} was told {one.address}, and its registration says {record}"


def _released(outcome: Outcome, node: str) -> bool:
    return any(job.node == node and job.steps[-1] == "release" for job in outcome.jobs)


def _records(raw: Iterable[dict[str, Any]], prefix: str) -> dict[str, dict[str, str]]:
    return {
        item["Key"].removeprefix(prefix): json.loads(base64.b64decode(item["Value"]))
        for item in raw
        if item["Key"].startswith(prefix)
    }


def main(arguments: Sequence[str]) -> int:
    """The full size; or, with `--worker FILE`, one process of it."""
    if arguments[:1] == ["--worker"]:
        given = json.loads(Path(arguments[1]).read_text())
        numbered = [(number, first, Job(*job)) for number, first, job in given["jobs"]]
        for _ in work(given["url"], given["nodes"], numbered, THREADS):
            pass
        return 0
    nodes = int(arguments[0]) if arguments else FULL
    with tempfile.TemporaryDirectory() as folder:
        outcome = storm(Path(folder), nodes)
    print(outcome.figures())  # noqa: T201
    wrong = faults(outcome)
    print("\n".join(wrong) or "every address once, every word kept")  # noqa: T201
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
