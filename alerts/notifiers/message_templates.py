"""Bodies of a webhook, made by a Jinja2 template out of the values of `wgaudit.alert/1`.

Templates run in Jinja2's sandbox, and what they name must be there. What comes out must be JSON of a bounded size.
Values of the settings, such as a chat's number, may be secrets: a template is given marks in their place, and they are
put in on sending.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING

from pydantic import SecretStr

from auditor.errors import UnusableTemplate
from auditor.values.text import one_line

if TYPE_CHECKING:
    from jinja2 import Template

MOST_BYTES = 256 * 1024
"""Of a rendered body; no service takes as much."""
_DETAIL = 200
_MARKDOWN = str.maketrans({sign: f"\\{sign}" for sign in "\\`*_~|>[]()<#@-+!:"})


@dataclass(frozen=True, slots=True)
class TemplateLimits:
    """Limits of the service of a shipped template."""

    per_message: int
    """Notifications in one message."""
    pause: float
    """Seconds between two calls."""


SHIPPED: Mapping[str, TemplateLimits] = {
    "discord": TemplateLimits(per_message=10, pause=1.0),
    "teams": TemplateLimits(per_message=10, pause=1.0),
    "telegram": TemplateLimits(per_message=1, pause=1.0),
    "ntfy": TemplateLimits(per_message=1, pause=0.5),
}
"""Limits by name: Discord: 10 embeds, 5 calls in 2 seconds; Teams: 28 KB; Telegram: 4,096 characters, one a second."""


@dataclass(frozen=True)
class BodyTemplate:
    """Template with the values that the settings give it."""

    text: str
    values: Mapping[str, SecretStr]

    def rendered(self, message: Mapping[str, object]) -> bytes:
        """Render the body for a message of `wgaudit.alert/1`, with marks for the values. Raises `UnusableTemplate`."""
        from jinja2 import TemplateError, TemplateSyntaxError

        marks = {name: _mark(name) for name in self.values}
        body = ""
        try:
            for piece in self._compiled.generate({**message, "values": marks}):
                body += piece
                if len(body) > MOST_BYTES:
                    raise UnusableTemplate(f"it makes more than {MOST_BYTES:,} bytes")
            decoded = json.loads(body)
        except TemplateSyntaxError as error:
            raise UnusableTemplate(_said(f"line {error.lineno}: {error.message}")) from None
        except TemplateError as error:
            raise UnusableTemplate(_said(str(error.message))) from None
        except json.JSONDecodeError as error:
            raise UnusableTemplate(f"what it makes is no JSON: line {error.lineno}: {error.msg}") from None
        except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
            raise UnusableTemplate(_said(f"{type(error).__name__}: {error}")) from None
        return json.dumps(decoded, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")

    def filled(self, body: bytes) -> bytes:
        """Put the values into the body in place of their marks."""
        return json.dumps(self._fill(json.loads(body)), ensure_ascii=False, separators=(",", ":")).encode()

    def _fill(self, value: object) -> object:
        if isinstance(value, str):
            for name, secret in self.values.items():
                value = value.replace(_mark(name), secret.get_secret_value())
            return value
        if isinstance(value, dict):
            return {key: self._fill(inner) for key, inner in value.items()}
        return [self._fill(inner) for inner in value] if isinstance(value, list) else value

    @cached_property
    def _compiled(self) -> Template:
        # Loaded only where a template is used: a sweep needs none.
        from jinja2 import StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined,
            autoescape=False,  # it makes JSON: `tojson` escapes
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": _not_there}
        environment.filters["short"] = _short
        environment.filters["markdown"] = _markdown
        return environment.from_string(self.text)


def shipped_text(name: str) -> str:
    """Read the text of a template that wgaudit brings along."""
    return (files("alerts.notifiers") / "templates" / f"{name}.json.j2").read_text(encoding="utf-8")


def _mark(name: str) -> str:
    return f"[values.{name}]"


def _said(text: str) -> str:
    return one_line(text, most=_DETAIL)


def _not_there(value: object) -> str:
    """Refuse a value that JSON cannot hold; an undefined name raises the template's own error."""
    str(value)
    raise TypeError(f"{type(value).__name__} is no value of JSON")


def _short(text: object, most: int) -> str:
    """Cut a text to at most so many characters."""
    whole = str(text)
    return whole if len(whole) <= most else f"{whole[: max(most - 1, 0)]}…"


def _markdown(text: object) -> str:
    """Escape each sign that Markdown gives a meaning with a backslash."""
    return str(text).translate(_MARKDOWN)
