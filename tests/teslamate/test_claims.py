"""What a token says of itself, and what a strange one does not do."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.teslamate.vectors import GENUINE
from tmsync.core.teslamate.claims import Api, Claims, read_claims


def jwt(payload: Any) -> str:
    body = base64.urlsafe_b64encode(json.dumps(payload).encode()).decode().rstrip("=")
    return f"e30.{body}.sig"


@pytest.mark.parametrize(
    "token", ["", "EU_abc", "a.b", "a.b.c.d", "..", "e30.!!!.x", "e30.e30", "e30.W10.x", "e30.bnVsbA.x", "e30.__4.x"]
)
def test_what_is_no_jwt_has_no_claims(token: str) -> None:
    assert read_claims(token) is None


@pytest.mark.parametrize("exp", [None, True, "soon", [], {}, 10**30, -(10**30), float("inf"), float("nan")])
def test_unreadable_expiry_is_no_expiry(exp: object) -> None:
    claims = read_claims(jwt({"exp": exp}))
    assert claims is not None
    assert claims.expires_at is None


def test_genuine_owner_api_token() -> None:
    token = next(vector.expected for vector in GENUINE if vector.name == "base64_64char_key_jwt_access_eu")
    assert read_claims(token) == Claims(
        datetime.fromtimestamp(1795500000, UTC),
        ("https://owner-api.teslamotors.com/", "https://auth.tesla.com/oauth2/v3/userinfo"),
        "EU",
        Api.OWNER,
        "https://auth.tesla.com/oauth2/v3/nts",
    )


@pytest.mark.parametrize(
    ("payload", "api", "region"),
    [
        ({"aud": ["https://fleet-api.prd.na.vn.cloud.tesla.com"], "ou_code": "NA"}, Api.FLEET, "NA"),
        ({"aud": "https://fleet-api.prd.eu.vn.cloud.tesla.com"}, Api.FLEET, "EU"),
        ({"aud": ["https://fleet-api.prd.cn.vn.cloud.tesla.cn"]}, Api.FLEET, "CN"),
        ({"aud": ["https://fleet-api.prd.xx.vn.cloud.tesla.com"], "ou_code": 7}, Api.FLEET, None),
        ({"aud": ["https://owner-api.teslamotors.com/"]}, Api.OWNER, None),
        ({"aud": ["https://owner-api.vn.cloud.tesla.cn/"], "ou_code": "CN"}, Api.OWNER, "CN"),
        ({"aud": [3, None, {}], "ou_code": "MARS"}, Api.UNKNOWN, None),
        ({}, Api.UNKNOWN, None),
    ],
)
def test_api_and_region(payload: dict[str, Any], api: Api, region: str | None) -> None:
    claims = read_claims(jwt(payload))
    assert claims is not None
    assert (claims.api, claims.region) == (api, region)


@given(st.text(max_size=200))
def test_no_text_whatever_crashes(token: str) -> None:
    read_claims(token)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_no_claim_whatever_crashes(value: Any) -> None:
    read_claims(jwt({"exp": value, "aud": value, "ou_code": value}))
    read_claims(jwt(value))
