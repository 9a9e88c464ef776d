"""KV store of one datacenter in Consul: current reads, and transactions with a known outcome."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import TYPE_CHECKING, NoReturn

from auditor.errors import GapReason, RegistryError, StoreConflict, StoreError
from auditor.registry.agent import check_settings, without
from auditor.registry.answers import NO_TOKEN, excerpt, transaction_refusals
from auditor.registry.client import connect
from auditor.registry.interface import Create, Glance, Operation, Overwrite, Remove, Replace, Stored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic import SecretStr

    from auditor.registry.client import Client, Response
    from auditor.registry.records import KvItem
    from auditor.settings.consul import ConsulSettings

DENIED = "Permission denied"
"""Beginning of Consul's text where the token may not do one operation of a transaction; the status is 409."""


class ConsulStore:
    """Store of keys behind one Consul agent; see `interface.KeyStore`. Any number of threads may use it."""

    def __init__(self, settings: ConsulSettings, token: SecretStr | None, datacenter: str = "") -> None:
        """Check URL, token and TLS files; asks nothing. Raises `ConfigError`, never with the token in it."""
        check_settings(settings, token)
        self._settings = settings
        self._token = token
        self._datacenter = datacenter

    def read(self, key: str) -> Stored | None:
        """Read one key by a `consistent` read; None: Consul says that it does not exist. Raises `StoreError`."""
        return self.glance(key).stored

    def glance(self, key: str) -> Glance:
        """Read one key as `read` does, with the index of the answer: see `interface.IndexedStore`."""
        with self._client() as client:
            try:
                items = list(client.kv_items(key, recurse=False))
            except RegistryError as error:
                if error.reason is GapReason.PREFIX_NOT_FOUND:
                    return Glance(None, client.http.index)
                self._fail(error)
            # A path that something on the way rewrote (`a/../b`) would bring another key's value.
            if len(items) != 1 or items[0].key != key:
                raise StoreError(f"{client.asked}: the answer is not this one key")
            return Glance(_stored(items[0], client), client.http.index)

    def beginning(self, start: str) -> tuple[Stored, ...]:
        """Read the few keys that begin with this text: see `interface.IndexedStore`. Raises `StoreError`."""
        with self._client() as client:
            try:
                return tuple(_stored(item, client) for item in client.kv_items(start))
            except RegistryError as error:
                if error.reason is GapReason.PREFIX_NOT_FOUND:
                    return ()
                self._fail(error)

    def newest(self, prefix: str) -> int:
        """Read the index of the newest write below a prefix: see `interface.IndexedStore`. Raises `StoreError`.

        Without its last slash, all keys below it are one answer: the folder's name.
        """
        with self._client() as client:
            try:
                client.kv.get(prefix.removesuffix("/"), keys=True, separator="/")
            except RegistryError as error:
                if error.reason is GapReason.PREFIX_NOT_FOUND:
                    return 0
                self._fail(error)
            return client.http.index

    def list(self, prefix: str) -> tuple[Stored, ...]:
        """List all keys under a prefix that ends with `/`, in key order. Raises `StoreError`.

        What the token may not read is left out of a list without a word, by a Consul before 1.11. So the
        prefix itself is read first: for a single key, Consul says that it is forbidden.
        """
        self.read(prefix)
        with self._client() as client:
            try:
                items = tuple(_stored(item, client) for item in client.kv_items(prefix))
            except RegistryError as error:
                if error.reason is GapReason.PREFIX_NOT_FOUND:
                    return ()
                self._fail(error)
            if client.http.filtered:
                raise StoreError(
                    f"{client.asked}: Consul left out what the token may not read; give it one that may read all",
                    permanent=True,
                )
        return tuple(sorted(items))

    def commit(self, operations: Sequence[Operation]) -> None:
        """Write all or nothing, in one transaction. Raises `StoreConflict`, `StoreError`: see `interface.KeyStore`."""
        body = json.dumps([{"KV": verb} for operation in operations for verb in _verbs(operation)])
        params = [("dc", self._datacenter)] if self._datacenter else []
        with self._client() as client:
            try:
                answer = client.http.put(_itself, "/v1/txn", params, body.encode())
            except RegistryError as error:
                self._fail(error)
            refusals = transaction_refusals(answer.content)
            if answer.code == 409 and refusals:
                words = self._words("; ".join(dict.fromkeys(refusals)))
                if any(refusal.startswith(DENIED) for refusal in refusals):
                    why = NO_TOKEN if self._token is None else "the token may not write what this takes"
                    raise StoreError(f"{client.asked}: {words}; {why}", permanent=True)
                raise StoreConflict(words)
            if answer.code != 200 or refusals != ():
                said = self._words(answer.content.decode(errors="replace"))
                raise StoreError(
                    f"{client.asked}: {answer.code} {said}".rstrip(), permanent=answer.code == 403
                )

    def _words(self, text: str) -> str:
        """Word Consul's answer on one line, without the token, which is taken out before the text is cut."""
        return excerpt(without(self._token, text).encode())

    def _client(self) -> Client:
        # The caller has a budget of its own for trying again, and must know of each failure.
        return connect(self._settings, self._token, self._datacenter, once=True)

    def _fail(self, error: RegistryError) -> NoReturn:
        text = without(self._token, error.detail)
        raise StoreError(text, permanent=error.reason is GapReason.CONSUL_FORBIDDEN) from None


def _verbs(operation: Operation) -> Sequence[dict[str, object]]:
    """Convert the operation to the form of Consul's transactions."""
    if isinstance(operation, Create):
        # An index of 0 is Consul's word for "must not exist".
        return [{"Verb": "cas", "Key": operation.key, "Value": _text(operation.value), "Index": 0}]
    if isinstance(operation, Overwrite):
        return [{"Verb": "set", "Key": operation.key, "Value": _text(operation.value)}]
    index = operation.modify_index
    if index <= 0:
        raise ValueError(f"{operation.key}: no index of a stored key: {index}")
    if isinstance(operation, Replace):
        return [{"Verb": "cas", "Key": operation.key, "Value": _text(operation.value), "Index": index}]
    check: dict[str, object] = {"Verb": "check-index", "Key": operation.key, "Index": index}
    if isinstance(operation, Remove):
        # delete-cas alone is content where the key is gone already.
        return [check, {"Verb": "delete-cas", "Key": operation.key, "Index": index}]
    return [check]


def _text(value: bytes) -> str:
    return b64encode(value).decode()


def _stored(item: KvItem, client: Client) -> Stored:
    if item.modify_index is None or item.create_index is None or item.modify_index <= 0:
        raise StoreError(f"{client.asked}: {excerpt(item.key.encode())} comes without its indexes")
    return Stored(item.key, item.value or b"", item.modify_index, item.create_index)


def _itself(answer: Response) -> Response:
    return answer
