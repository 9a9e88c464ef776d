"""PURE: the documents that `--format json` prints beside the report, one file each, as types with a JSON Schema."""
