"""The preview of a request: two services' answers as one."""

from typing import Any

import orjson
from starlette.types import Scope, Send
from tests.integration.gateway.conftest import Upstream, bearer, free_port, gateway, serving

PREVIEW = "/api/v1/leave-requests/preview"
FOUND: dict[str, Any] = {
    "leave_type": "annual",
    "days": [
        {"date": "2026-05-01", "amount": {"minutes": 0, "days": "0.00"}, "scheduled_minutes": 0},
        {"date": "2026-05-04", "amount": {"minutes": 480, "days": "1.00"}, "scheduled_minutes": 450},
    ],
}
BALANCE: dict[str, Any] = {"sufficient": True, "cause": None, "years": []}


def answering(status: int, content: Any) -> Any:
    async def behave(scope: Scope, send: Send) -> bool:
        del scope
        body = orjson.dumps(content)
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return True

    return behave


async def test_a_preview_has_what_balances_says_to_the_days_that_cost_something(redis_url: str) -> None:
    requests, balances = Upstream(behave=answering(200, FOUND)), Upstream(behave=answering(200, BALANCE))
    body = {"leave_type": "annual", "start_date": "2026-05-01", "end_date": "2026-05-04", "request_id": "r1"}
    async with (
        serving(requests),
        serving(balances),
        gateway(redis_url, requests.url, balances_url=balances.url) as client,
    ):
        answer = await client.post(PREVIEW, json=body, headers=bearer("anna"))
    assert answer.json() == {**FOUND, "balance": BALANCE}
    asked = balances.got[-1]
    assert asked["path"] == "/api/v1/balances/preview"
    assert asked["headers"]["authorization"] == requests.got[-1]["headers"]["authorization"]
    assert orjson.loads(asked["body"]) == {
        "employee_id": None,
        "leave_type": "annual",
        "request_id": "r1",
        "days": [{"date": "2026-05-04", "entitlement_minutes": 480, "scheduled_minutes": 450}],
    }


async def test_a_preview_comes_without_a_balance_where_balances_refuses_or_is_away(redis_url: str) -> None:
    requests, balances = Upstream(behave=answering(200, FOUND)), Upstream(behave=answering(404, {"code": "x"}))
    away = f"http://127.0.0.1:{free_port()}"
    found = []
    async with serving(requests), serving(balances):
        for url in (balances.url, away):
            async with gateway(redis_url, requests.url, balances_url=url) as client:
                found.append(await client.post(PREVIEW, json={"leave_type": "annual"}, headers=bearer()))
    assert [(one.status_code, one.json()["balance"]) for one in found] == [(200, None), (200, None)]


async def test_a_refused_preview_passes_as_it_is(redis_url: str) -> None:
    requests = Upstream(behave=answering(422, {"code": "end-before-start"}))
    async with serving(requests), gateway(redis_url, requests.url) as client:
        answer = await client.post(PREVIEW, json={}, headers=bearer())
    assert (answer.status_code, answer.json()) == (422, {"code": "end-before-start"})
    assert len(requests.got) == 1
