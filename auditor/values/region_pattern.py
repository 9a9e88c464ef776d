"""PURE: a region's pattern over node names, matched in time that grows with the name alone.

The pattern comes from a configuration or a recording, the names from Consul. Python's `re` may take years for some
pairs of the two; RE2 never does, and refuses what only a backtracking matcher can do.
"""

from __future__ import annotations

from auditor.errors import InvalidValue

MAX_PATTERN = 1000
"""Characters of a pattern."""
MAX_NAME = 512
"""Characters of a name that are looked at: Consul's keys are no longer."""


class RegionPattern:
    """Regular expression with a group named `region`."""

    def __init__(self, pattern: str) -> None:
        """Compile the pattern. Raises `InvalidValue` where RE2 does not take it, or it names no region."""
        import re2  # here, for most commands and many configurations have no pattern

        options = re2.Options()
        options.log_errors = False
        if len(pattern) > MAX_PATTERN:
            raise InvalidValue(f"a pattern of {len(pattern)} characters, more than {MAX_PATTERN}")
        try:
            self._compiled = re2.compile(pattern, options=options)
        except re2.error as error:
            said = error.args[0]
            words = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            raise InvalidValue(
                f"not a regular expression that RE2 takes (no lookaround, no backreferences): {words}"
            ) from None
        except UnicodeEncodeError:
            raise InvalidValue("not a regular expression: holds a lone surrogate") from None
        if "region" not in self._compiled.groupindex:
            raise InvalidValue("needs a group named region: (?P<region>…)")

    def region(self, name: str) -> str | None:
        """Read the region from a name; None where it holds none."""
        # A name may hold what is no UTF-8; its place in the name must count all the same.
        text = name[:MAX_NAME].encode(errors="replace").decode()
        match = self._compiled.search(text)
        return str(match["region"]) if match is not None and match["region"] is not None else None
