"""`python -m tests.fuzz [TARGET…]`: so many minutes of mutations (FUZZ_MINUTES); what fails is kept in .cache/fuzz."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import time
import traceback
from pathlib import Path

from tests.fuzz.campaign import mutated, try_one
from tests.fuzz.targets import targets

KEPT = Path(".cache/fuzz")


def main(names: list[str]) -> int:
    """Share the time among the targets; return 1 where one failed."""
    chosen = {name: target for name, target in targets().items() if not names or name in names}
    seconds = 60 * float(os.environ.get("FUZZ_MINUTES", "10")) / max(1, len(chosen))
    seed = int(os.environ.get("FUZZ_SEED", time.time_ns()))
    failed = False
    for name, target in chosen.items():
        chance = random.Random(f"{seed} {name}")  # noqa: S311  (no secret)
        tried, end, found = 0, time.monotonic() + seconds, set[str]()
        while time.monotonic() < end:
            raw = mutated(target.corpus, chance)
            tried += 1
            try:
                try_one(target, raw)
            except Exception as error:  # noqa: BLE001  (it is what is looked for)
                place = traceback.extract_tb(error.__traceback__)[-1]
                what = f"{type(error).__name__} at {place.filename}:{place.lineno}"
                if what not in found:
                    found.add(what)
                    KEPT.mkdir(parents=True, exist_ok=True)
                    kept = KEPT / f"{name}-{hashlib.sha256(raw).hexdigest()[:12]}"
                    kept.write_bytes(raw)
                    sys.stdout.write(f"{name}: {what}: {str(error)[:200]!r}: {kept}\n")
        failed = failed or bool(found)
        sys.stdout.write(f"{name}: {tried:,} inputs, {len(found)} failures (seed {seed})\n")
        sys.stdout.flush()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
