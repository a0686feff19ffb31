"""What the gateway decides by itself: where a path leads, who may go there, what passes, and what is left."""

import pytest

from lms.gateway.limits import Policy, verdict
from lms.gateway.openapi import union
from lms.gateway.proxy import Origin, Rotation, inward, outward
from lms.gateway.routes import admits, repeatable, target
from lms.gateway.security import client_address, is_inside, subscriber_of
from lms.kernel.auth import Caller

ORIGIN = Origin("10.0.0.1", "http", "lms.example", "request-1")
POLICY = Policy("people", 10, 100.0)


@pytest.mark.parametrize(
    ("path", "service"),
    [("/api/v1/me", "directory"), ("/api/v1/leave-requests/1", "requests"), ("/api/v1/approvals/bulk", "approvals")],
)
def test_the_first_segment_says_which_service_answers(path: str, service: str) -> None:
    found = target(path)
    assert found is not None
    assert found.service == service


@pytest.mark.parametrize(
    "path", ["/api/v1/nothing", "/api/v2/me", "/api/v1/me/../employees", "/api/v1//me", "/api/v1/"]
)
def test_a_path_that_two_readers_could_read_differently_leads_nowhere(path: str) -> None:
    assert target(path) is None


def test_an_employee_reads_the_company_and_only_hr_and_admins_change_it() -> None:
    where = target("/api/v1/departments")
    assert where is not None
    employee, hr = Caller("e1", frozenset({"employee"})), Caller("h1", frozenset({"hr"}))
    assert admits(where, "GET", employee)
    assert not admits(where, "POST", employee)
    assert admits(where, "POST", hr)


def test_a_broken_post_is_repeated_only_with_an_idempotency_key() -> None:
    assert repeatable("GET", keyed=False)
    assert repeatable("POST", keyed=True)
    assert not repeatable("POST", keyed=False)


def test_what_a_client_may_not_say_of_itself_does_not_pass_inward() -> None:
    sent = [
        (b"x-forwarded-for", b"6.6.6.6"),
        (b"cookie", b"a=1"),
        (b"connection", b"x-a"),
        (b"x-a", b"1"),
    ]
    found = dict(inward(sent, ORIGIN, token="t", signing_in=False))
    assert found == {
        "x-forwarded-for": "10.0.0.1",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "lms.example",
        "x-request-id": "request-1",
        "authorization": "Bearer t",
    }


def test_cookies_are_set_only_by_signing_in() -> None:
    assert outward([(b"Set-Cookie", b"a=1")], signing_in=False) == []
    assert outward([(b"Set-Cookie", b"a=1")], signing_in=True) == [(b"set-cookie", b"a=1")]


def test_an_unreachable_copy_comes_last_until_its_time_is_over() -> None:
    rotation = Rotation("requests", ["a", "b"])
    rotation.unreachable(rotation.copies[0], now=10.0)
    assert [copy.url for copy in rotation.order(10.1)] == ["b", "a"]
    assert [copy.url for copy in rotation.order(10.2)] == ["b", "a"]
    assert {rotation.order(11.0)[0].url, rotation.order(11.0)[0].url} == {"a", "b"}


def test_a_copy_that_is_not_ready_comes_last_and_is_kept_as_the_last_resort() -> None:
    rotation = Rotation("requests", ["a", "b"])
    rotation.copies[0].ready = False
    assert [copy.url for copy in rotation.order(0.0)] == ["b", "a"]
    rotation.copies[1].ready = False
    assert {copy.url for copy in rotation.order(0.0)} == {"a", "b"}


def test_a_name_with_several_addresses_stands_for_so_many_copies() -> None:
    rotation = Rotation("requests", ["http://requests:8000"])
    rotation.found({"http://requests:8000": ["10.0.0.1", "10.0.0.2"]})
    rotation.copies[1].ready = False
    rotation.found({"http://requests:8000": ["10.0.0.2", "10.0.0.3"]})
    assert [(copy.address, copy.ready) for copy in rotation.copies] == [("10.0.0.2", False), ("10.0.0.3", True)]
    rotation.found({"http://requests:8000": None})
    assert [copy.address for copy in rotation.copies] == ["10.0.0.2", "10.0.0.3"], "a failed look-up forgets no copy"
    url, headers = rotation.copies[0].to("/api/v1/x?y=%2F")
    assert (str(url), headers) == ("http://10.0.0.2:8000/api/v1/x?y=%2F", [("host", "requests:8000")])
    rotation.found({"http://requests:8000": ["10.0.0.9"]})
    assert [copy.to("/")[0].host for copy in rotation.copies] == ["requests"]


def test_only_as_many_forwarded_addresses_are_believed_as_there_are_proxies_of_ours() -> None:
    assert client_address("10.0.0.9", "6.6.6.6, 7.7.7.7", 0) == "10.0.0.9"
    assert client_address("10.0.0.9", "6.6.6.6, 7.7.7.7", 1) == "7.7.7.7"


@pytest.mark.parametrize(
    ("address", "subscriber"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:DB8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("unknown", "unknown"),
    ],
)
def test_whoever_has_an_ipv6_address_has_a_whole_network_and_is_counted_by_it(address: str, subscriber: str) -> None:
    assert subscriber_of(address) == subscriber


def test_somebody_who_comes_through_a_proxy_is_not_inside() -> None:
    assert is_inside("127.0.0.1", None)
    assert not is_inside("127.0.0.1", "6.6.6.6")
    assert not is_inside("8.8.8.8", None)


def test_a_quota_that_is_used_up_says_when_the_next_request_passes() -> None:
    assert verdict(POLICY, allowed=True, owed=10.0).remaining == 9
    assert verdict(POLICY, allowed=False, owed=100.0).retry == 10


def test_components_that_differ_get_the_name_of_their_service() -> None:
    def document(path: str, kind: str) -> dict[str, object]:
        reference = {"$ref": "#/components/schemas/Item"}
        return {"paths": {path: {"get": reference}}, "components": {"schemas": {"Item": {"type": kind}}}}

    found = union({"balances": document("/b", "object"), "requests": document("/r", "string")})
    assert set(found["components"]["schemas"]) == {"BalancesItem", "RequestsItem"}
    assert found["paths"]["/r"]["get"] == {"$ref": "#/components/schemas/RequestsItem"}
