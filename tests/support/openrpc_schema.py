"""The OpenRPC meta-schema (npm package @open-rpc/meta-schema): what is wrong with a document?"""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest
from npm_package import installed

PACKAGE = "@open-rpc/meta-schema@1.14.9"


def meta_schema() -> Any:
    """The schema, fetched by npm into the project's own folder for tools where it is not there."""
    if shutil.which("node") is None:
        pytest.skip("needs npm")
    module = installed("openrpc", PACKAGE, "@open-rpc/meta-schema/index.js")
    script = f"const m = require({str(module)!r}); console.log(JSON.stringify(m.default ?? m));"
    return json.loads(subprocess.run(["node", "-e", script], check=True, capture_output=True, timeout=60).stdout)


def errors(document: Any) -> list[str]:
    """What the meta-schema says of a document; the JSON Schemas in it by JSON Schema's own of draft 7."""
    from jsonschema import Draft7Validator
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT7

    schema = meta_schema()
    schema["$schema"] = Draft7Validator.META_SCHEMA["$schema"]
    own = Resource.from_contents(Draft7Validator.META_SCHEMA, default_specification=DRAFT7)
    registry: Any = Registry().with_resources([(f"https://meta.json-schema.tools{end}", own) for end in ("", "/")])
    return [
        f"{error.json_path}: {error.message}"
        for error in Draft7Validator(schema, registry=registry).iter_errors(document)
    ]
