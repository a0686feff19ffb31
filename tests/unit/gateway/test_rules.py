"""The gateway's pure parts: routing, gates, headers, the limit's arithmetic, one OpenAPI document, turns of copies."""

import pytest

from lms.gateway import routes, security
from lms.gateway.limits import Policy, limit_headers, verdict
from lms.gateway.openapi import union
from lms.gateway.proxy import Origin, Rotation, inward, outward
from lms.kernel.auth import Caller
from lms.kernel.errors import Unauthenticated

ORIGIN = Origin("10.0.0.1", "https", "lms.example", "request-1")
POLICY = Policy("anonymous", 100, 900.0)


def _caller(*roles: str, scopes: tuple[str, ...] = ()) -> Caller:
    return Caller(id="e1", roles=frozenset(roles), scopes=frozenset(scopes))


def _to(path: str) -> routes.Target:
    found = routes.target(path)
    assert found is not None
    return found


def test_the_first_segment_names_the_service() -> None:
    assert routes.target("/api/v1/leave-requests/1/cancel") == ("requests", "leave-requests", "leave-requests/1/cancel")
    assert _to("/api/v1/holiday-calendars").service == "directory"


@pytest.mark.parametrize(
    "path", ["/api/v1/", "/api/v2/me", "/api/v1/unknown", "/api/v1/auth/../employees", "/api/v1//me", "/api/v1/me\\x"]
)
def test_other_paths_lead_nowhere(path: str) -> None:
    assert routes.target(path) is None


def test_gates_ask_for_a_role_only_for_what_changes_things() -> None:
    assert routes.admits(_to("/api/v1/employees"), "GET", _caller("employee"))
    assert not routes.admits(_to("/api/v1/employees/1"), "PATCH", _caller("employee"))
    assert routes.admits(_to("/api/v1/employees/1"), "PATCH", _caller("admin"))
    assert not routes.admits(_to("/api/v1/balances/adjustments"), "POST", _caller("manager"))
    assert routes.admits(_to("/api/v1/balances/overtime"), "POST", _caller("employee"))
    assert routes.admits(_to("/api/v1/accruals/run"), "POST", _caller(scopes=("accruals.run",)))


def test_what_payroll_books_is_for_payroll_alone() -> None:
    absences = _to("/api/v1/payroll/absences")
    assert absences.service == "requests"
    assert routes.admits(absences, "GET", _caller("payroll"))
    assert routes.admits(absences, "GET", _caller(scopes=("payroll.read",)))
    for role in ("employee", "manager", "hr", "admin"):
        assert not routes.admits(absences, "GET", _caller(role))
        assert not routes.admits(_to("/api/v1/payroll/periods/2026-07/close"), "POST", _caller(role))


def test_only_harmless_requests_are_repeated() -> None:
    assert routes.repeatable("GET", keyed=False)
    assert routes.repeatable("POST", keyed=True)
    assert not routes.repeatable("POST", keyed=False)
    assert not routes.repeatable("PATCH", keyed=True)


def test_headers_of_one_connection_and_of_the_gateways_own_do_not_pass_inward() -> None:
    sent = [
        (b"connection", b"close, X-Secret"), (b"x-secret", b"1"), (b"te", b"x"), (b"cookie", b"a=1"),
        (b"x-forwarded-for", b"6.6.6.6"), (b"accept", b"*/*"),
    ]  # fmt: skip
    passed = inward(sent, ORIGIN, token="t", signing_in=False)
    assert passed == [
        ("accept", "*/*"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "lms.example"),
        ("x-request-id", "request-1"),
        ("authorization", "Bearer t"),
    ]
    assert ("cookie", "a=1") in inward(sent, ORIGIN, token=None, signing_in=True)


def test_cookies_are_set_only_by_signing_in() -> None:
    answered = [(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"Transfer-Encoding", b"chunked"), (b"ETag", b'"1"')]
    assert outward(answered, signing_in=False) == [(b"etag", b'"1"')]
    assert outward(answered, signing_in=True) == [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"etag", b'"1"')]


def test_a_bearer_token_goes_before_a_cookie() -> None:
    cookie = (b"cookie", b"lms_access=c")
    assert security.credentials([cookie, (b"authorization", b"bearer  b ")]) == ("b", False)
    assert security.credentials([cookie]) == ("c", True)
    with pytest.raises(Unauthenticated):
        security.credentials([cookie, (b"authorization", b"Basic x")])


def test_only_our_own_proxies_are_believed_about_addresses() -> None:
    assert security.client_address("10.0.0.2", "6.6.6.6, 7.7.7.7", 0) == "10.0.0.2"
    assert security.client_address("10.0.0.2", "6.6.6.6, 7.7.7.7", 1) == "7.7.7.7"
    assert security.client_address("10.0.0.2", None, 1) == "10.0.0.2"


def test_inside_is_a_private_address_without_a_proxy() -> None:
    assert security.is_inside("127.0.0.1", None)
    assert not security.is_inside("127.0.0.1", "6.6.6.6")
    assert not security.is_inside("8.8.8.8", None)
    assert not security.is_inside("unknown", None)


def test_only_allowed_origins_get_answers_of_their_own() -> None:
    allowed = frozenset({"https://lms.example"})
    assert security.sharing("https://evil.example", allowed) == [(b"vary", b"Origin")]
    assert (b"access-control-allow-origin", b"https://lms.example") in security.sharing("https://lms.example", allowed)
    assert security.sharing("https://lms.example", frozenset()) == []


def test_the_limit_says_what_is_left_and_when_to_come_back() -> None:
    assert verdict(POLICY, allowed=True, owed=9.0) == (True, 99, 9, 0)
    assert verdict(POLICY, allowed=True, owed=900.0) == (True, 0, 900, 0)
    refused = verdict(POLICY, allowed=False, owed=899.5)
    assert refused == (False, 0, 900, 9)
    assert limit_headers(POLICY, refused)[1] == (b"ratelimit", b'"anonymous";r=0;t=900')


def test_components_that_differ_are_renamed_with_everything_that_refers_to_them() -> None:
    reference = {"$ref": "#/components/schemas/Item"}

    def document(path: str, kind: str) -> dict[str, object]:
        schemas = {"Item": {"type": kind}, "Page": {"items": reference}, "Problem": {"type": "object"}}
        return {"paths": {path: {"get": {"schema": reference}}}, "components": {"schemas": schemas}}

    found = union({"balances": document("/b", "string"), "requests": document("/a", "integer")})
    assert list(found["paths"]) == ["/a", "/b"]
    assert set(found["components"]["schemas"]) == {
        "BalancesItem", "BalancesPage", "Problem", "RequestsItem", "RequestsPage",
    }  # fmt: skip
    assert found["paths"]["/a"]["get"]["schema"] == {"$ref": "#/components/schemas/RequestsItem"}
    assert found["components"]["schemas"]["BalancesPage"]["items"] == {"$ref": "#/components/schemas/BalancesItem"}


def test_copies_take_turns_and_one_that_is_away_comes_last_until_its_time_is_over() -> None:
    rotation = Rotation("requests", ("http://a", "http://b"))
    assert {rotation.order(0.0)[0].url for _ in range(2)} == {"http://a", "http://b"}
    a = rotation.copies[0]
    rotation.unreachable(a, now=0.0)
    assert {rotation.order(0.1)[0].url for _ in range(2)} == {"http://b"}
    assert {rotation.order(0.6)[0].url for _ in range(2)} == {"http://a", "http://b"}
    rotation.unreachable(a, now=0.6)
    assert a.out_until == 0.6 + 1.0
    rotation.reached(a)
    assert (a.out_until, a.ejection) == (0.0, 0.5)
