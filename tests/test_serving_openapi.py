"""Requests that the server's OpenAPI allows, and ones that it does not: no answer is one that it does not describe."""

from __future__ import annotations

import pytest

pytest.importorskip("schemathesis")

import httpx
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from tests.serving import living, running


def refused(context, response, case):
    """What OpenAPI does not allow is refused; what is too long is refused before it is looked at."""
    return None if response.status_code in (413, 431) else checks.negative_data_rejection(context, response, case)


CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    refused,
]
#: Cases of each path and method, allowed and not.
CASES = 5


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    with running(living(tmp_path_factory.mktemp("openapi"))) as address:
        yield schemathesis.openapi.from_url(f"{address}/openapi.json")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
def test_every_answer_is_one_that_openapi_describes(schema, mode):
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {"/search", "/explain", "/documents/{id}", "/metrics"} <= {operation.path for operation in operations}
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
            continue  # any text is a path

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=[*HealthCheck])
        def answered(case):
            case.call_and_validate(checks=CHECKS)

        answered()


def test_a_method_that_is_not_for_a_path_is_told_which_are(schema):
    answer = httpx.delete(f"{schema.get_base_url().rstrip('/')}/search")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")
