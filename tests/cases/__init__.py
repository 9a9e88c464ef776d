"""Small inputs that once failed, each the test of its whole kind."""

from __future__ import annotations

from pathlib import Path

CASES = Path(__file__).parent
