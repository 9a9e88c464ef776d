"""Write what in docs/ is made from the code: docs/cli.md, docs/man/, and the schemas. `make docs` runs it."""

from __future__ import annotations

from tests.cli_reference import CLI_DOCUMENT, reference
from tests.json_schemas import write_schemas
from tests.man_pages import write_man_pages

if __name__ == "__main__":
    CLI_DOCUMENT.write_text(reference(), encoding="utf-8")
    write_schemas()
    write_man_pages()
