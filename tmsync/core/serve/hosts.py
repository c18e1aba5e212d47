"""Which host of Tesla's a token is for: a fixed table, so that a token goes nowhere else whatever it says of itself.

Source: TeslaMate lib/tesla_api/vehicle.ex, auth.ex (the Owner API's hosts, told apart by the token's issuer);
Tesla Fleet API documentation, "Regions and Countries".
"""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from tmsync.core.teslamate.claims import OWNER_API_HOSTS, Api, Claims

OWNER, OWNER_CHINA = (f"https://{host}" for host in OWNER_API_HOSTS)
FLEET: Final[Mapping[str | None, str]] = {
    "NA": "https://fleet-api.prd.na.vn.cloud.tesla.com",
    "EU": "https://fleet-api.prd.eu.vn.cloud.tesla.com",
    "CN": "https://fleet-api.prd.cn.vn.cloud.tesla.cn",
}


def host_of(claims: Claims) -> str | None:
    """The address below which a token is good; None where it does not tell."""
    if claims.api is Api.OWNER:
        return OWNER_CHINA if _is_chinese(claims) else OWNER
    return FLEET.get(claims.region)


def _is_chinese(claims: Claims) -> bool:
    try:
        issued_in = (urlsplit(claims.issuer).hostname or "").rpartition(".")[2]
    except ValueError:
        issued_in = ""
    return issued_in == "cn" or (issued_in == "" and claims.region == "CN")


def knows_vins(claims: Claims) -> bool:
    """Whether its API finds a car by VIN; the Owner API knows its own ids alone."""
    return claims.api is not Api.OWNER
