"""Triggers and destinations as the API takes them, and webhooks as an independent library verifies them."""

import json
from dataclasses import dataclass

from standardwebhooks.webhooks import Webhook


@dataclass(frozen=True)
class Delivered:
    """One verified request to the destination, and what it was answered with."""

    id: str
    account: str
    status: int
    body: dict


def subscribe_to_targets(product, url):
    """A signed webhook for every account that enters the level Target. Answers the signing secret, which is shown this once."""
    made = product.api("POST", "/destinations", {"name": "Sales desk", "kind": "signed_webhook", "url": url})
    product.api(
        "POST",
        "/triggers",
        {"name": "New targets", "when": {"kind": "level_entered", "level": "target"}, "destinations": [made["id"]]},
    )
    secret = made["secret"]
    shown = json.dumps([product.api("GET", path) for path in ("/destinations", "/triggers", f"/destinations/{made['id']}")])
    assert secret.startswith("whsec_") and secret not in shown and url not in shown, "a secret is shown once and masked from then on"
    return secret


def verified(receiver, secret):
    """What came so far. A request that the independent library does not accept fails the test."""
    hook = Webhook(secret)
    found = []
    for headers, body, status in list(receiver.received):
        hook.verify(body, {name.lower(): value for name, value in headers.items()})
        told = json.loads(body)
        delivery = next(value for name, value in headers.items() if name.lower() == "webhook-id")
        found.append(Delivered(delivery, told["data"]["account"]["account_id"], status, told))
    return found
