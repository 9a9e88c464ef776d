"""Type of options that take the name of a region, as collectors spell it."""

from __future__ import annotations

from typing import Any

import click


class RegionType(click.ParamType[str]):
    """Option type of a region's name."""

    name = "region"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read the name. Fails as a usage error."""
        from auditor.settings.collectors import region_name

        try:
            return region_name(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
