"""What people and browsers meet first: TLS, the web app's files, limits, and the way to the gateway."""

import asyncio
import re
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from tests.integration.edge.conftest import DOMAIN, PAGE, SCRIPT, Client, Edge, Upstream


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[Client]:
    async with edge.client() as found:
        yield found


def test_the_configuration_is_one_that_nginx_takes(edge: Edge) -> None:
    code, said = edge.check()
    assert code == 0, said
    assert "warn" not in said
    assert "syntax is ok" in said


# TLS ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_modern_tls_is_spoken(edge: Edge, version: ssl.TLSVersion) -> None:
    async with edge.client(minimum=version, maximum=version) as client:
        assert (await client.get("/")).status_code == 200


def test_old_tls_is_refused(edge: Edge) -> None:
    told = subprocess.run(
        [
            "openssl", "s_client", "-connect", f"127.0.0.1:{edge.https}", "-servername", DOMAIN, "-tls1_1",
            "-cipher", "DEFAULT@SECLEVEL=0",
        ],
        input="", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode != 0
    assert "alert protocol version" in told.stderr


def test_http_2_is_spoken(edge: Edge) -> None:
    told = subprocess.run(
        [
            "curl", "-sS", "--http2", "--cacert", str(edge.certificate), "--resolve",
            f"{DOMAIN}:{edge.https}:127.0.0.1", "-o", "/dev/null", "-w", "%{http_version}",
            f"https://{DOMAIN}:{edge.https}/",
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout == "2"


async def test_whoever_asks_for_another_name_sees_no_certificate(edge: Edge) -> None:
    context = ssl.create_default_context(cafile=str(edge.certificate))
    with pytest.raises(httpx.ConnectError, match="UNRECOGNIZED_NAME"):
        async with httpx.AsyncClient(verify=context) as client:
            await client.get(f"https://127.0.0.1:{edge.https}/", extensions={"sni_hostname": "other.test"})


async def test_whoever_asks_for_no_name_sees_no_certificate(edge: Edge) -> None:
    with pytest.raises(httpx.ConnectError, match="UNRECOGNIZED_NAME"):
        await nameless(edge, "/readyz")


async def test_a_balancer_that_names_nobody_is_served_where_one_stands_in_front(balanced: Edge) -> None:
    page = await nameless(balanced, "/requests")
    assert (page.status_code, page.text) == (200, PAGE)
    told = (await nameless(balanced, "/api/v1/me")).json()
    assert told["headers"]["Host"] == DOMAIN
    async with balanced.client() as client:
        assert (await client.get("/requests")).text == PAGE, "who names us is served as ever"


@pytest.mark.parametrize("host", ["10.0.3.7:8443", "balancer.test", "[2001:db8::1]:8443"])
async def test_its_own_question_is_answered_whatever_name_it_has_for_us_and_nothing_else_is(
    balanced: Edge, host: str
) -> None:
    ready = await nameless(balanced, "/readyz", host)
    assert (ready.status_code, ready.text) == (200, "ready\n")
    for path in ("/", "/api/v1/me", "/health"):
        assert (await nameless(balanced, path, host)).status_code == 421, path


async def test_a_wrong_name_is_refused_behind_a_balancer_too(balanced: Edge) -> None:
    with pytest.raises(httpx.ConnectError, match="UNRECOGNIZED_NAME"):
        async with httpx.AsyncClient(verify=ssl.create_default_context(cafile=str(balanced.certificate))) as client:
            await client.get(f"https://127.0.0.1:{balanced.https}/", extensions={"sni_hostname": "other.test"})


async def nameless(edge: Edge, path: str, host: str = DOMAIN) -> httpx.Response:
    """Ask as a balancer does that ends TLS itself: no name in the handshake, and content with any certificate."""
    async with httpx.AsyncClient(verify=False) as client:  # noqa: S501  # a balancer does not look either
        return await client.get(f"https://127.0.0.1:{edge.https}{path}", headers={"Host": host})


async def test_what_comes_in_the_clear_is_sent_to_tls_under_our_own_name(edge: Edge) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{edge.http}/calendar?from=1", headers={"Host": "evil.test"})
    assert (answer.status_code, answer.headers["location"]) == (301, f"https://{DOMAIN}/calendar?from=1")


async def test_the_proof_for_a_certificate_is_given_in_the_clear(edge: Edge) -> None:
    (edge.folder / "acme/.well-known/acme-challenge/token").write_text("proof", "utf-8")
    async with httpx.AsyncClient() as client:
        base = f"http://127.0.0.1:{edge.http}/.well-known/acme-challenge"
        assert (await client.get(f"{base}/token")).text == "proof"
        assert (await client.get(f"{base}/other")).status_code == 404


async def test_a_renewed_certificate_is_read_anew_without_a_restart(own: tuple[Edge, list[Upstream]]) -> None:
    edge, _ = own
    edge.replace_certificate()
    until = time.monotonic() + 20
    while True:
        try:
            async with edge.client() as client:  # trusts the new one alone
                assert (await client.get("/")).status_code == 200
        except httpx.ConnectError:
            assert time.monotonic() < until, edge.log()
            await asyncio.sleep(0.1)
        else:
            break


async def test_a_first_start_without_a_certificate_has_a_placeholder(stopped: Edge) -> None:
    stopped.certificate.unlink()
    await stopped.start()
    async with httpx.AsyncClient(verify=False) as client:  # noqa: S501  # nobody vouches for a placeholder
        answer = await client.get(
            f"https://127.0.0.1:{stopped.https}/", headers={"Host": DOMAIN}, extensions={"sni_hostname": DOMAIN}
        )
    assert answer.status_code == 200
    assert "a placeholder stands in" in stopped.log()


# The web app ----------------------------------------------------------------------------------------------------------


async def test_every_page_of_the_app_is_its_first_one_and_is_asked_for_again_each_time(client: Client) -> None:
    for path in ("/", "/index.html", "/requests/0192", "/a/b/c"):
        answer = await client.get(path)
        assert (answer.status_code, answer.text) == (200, PAGE)
        assert answer.headers["cache-control"] == "no-cache"
        assert "max-age=60" in answer.headers["cdn-cache-control"]
        unchanged = await client.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert unchanged.status_code == 304


async def test_files_named_by_their_content_are_kept_for_a_year_and_a_missing_one_is_not_a_page(
    client: Client,
) -> None:
    found = await client.get("/assets/app-1a2b3c4d.js")
    assert found.text == SCRIPT
    assert found.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert found.headers["cdn-cache-control"] == "public, max-age=31536000, immutable"
    missing = await client.get("/assets/app-00000000.js")
    assert missing.status_code == 404
    assert "cache-control" not in missing.headers


async def test_text_is_compressed_for_whoever_takes_it(client: Client) -> None:
    for path in ("/assets/app-1a2b3c4d.js", "/api/v1/large"):
        packed = await client.get(path, headers={"Accept-Encoding": "gzip"})
        plain = await client.get(path, headers={"Accept-Encoding": "identity"})
        assert packed.headers["content-encoding"] == "gzip"
        assert "Accept-Encoding" in packed.headers["vary"]
        assert packed.num_bytes_downloaded < len(plain.content) / 2
        assert "content-encoding" not in plain.headers
        assert packed.text == plain.text


async def test_answers_to_a_sign_in_are_not_compressed(client: Client) -> None:
    answer = await client.post(
        "/api/v1/auth/login", headers={"Accept-Encoding": "gzip", "X-Padding": "x" * 2000}, json={}
    )
    assert "content-encoding" not in answer.headers


async def test_pages_carry_the_protective_headers_each_once(client: Client) -> None:
    answer = await client.get("/requests")
    expected = {
        "strict-transport-security": "max-age=63072000",
        "x-frame-options": "SAMEORIGIN",
        "x-content-type-options": "nosniff",
        "x-xss-protection": "0",
        "referrer-policy": "strict-origin-when-cross-origin",
        "cross-origin-opener-policy": "same-origin",
    }
    assert {name: answer.headers.get_list(name) for name in expected} == {
        name: [value] for name, value in expected.items()
    }
    assert answer.headers["server"] == "nginx"
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert "unsafe" not in answer.headers["content-security-policy"]


async def test_hidden_files_are_not_served(edge: Edge, client: Client) -> None:
    (edge.folder / "web" / ".env").write_text("SECRET=1", "utf-8")
    assert (await client.get("/.env")).status_code == 404
    assert (await client.get("/assets/../.env")).status_code == 404


# The way to the gateway -----------------------------------------------------------------------------------------------


async def test_the_gateway_is_told_who_asks_and_no_tale_of_the_client(client: Client) -> None:
    tales = {
        "X-Forwarded-For": "198.51.100.7", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.test",
        "X-Real-IP": "198.51.100.7", "Forwarded": "for=198.51.100.7", "X-Request-ID": "a\tb",
    }  # fmt: skip
    answer = await client.get("/api/v1/me?x=%2F", headers=tales)
    told = answer.json()
    assert told["path"] == "/api/v1/me?x=%2F"
    assert told["headers"]["X-Forwarded-For"] == "127.0.0.1"
    assert told["headers"]["X-Forwarded-Proto"] == "https"
    assert told["headers"]["Host"] == DOMAIN
    assert not {"X-Forwarded-Host", "X-Real-IP", "Forwarded"} & set(told["headers"])
    assert re.fullmatch(r"[0-9a-f]{32}", told["headers"]["X-Request-ID"])
    assert answer.headers.get_list("strict-transport-security") == ["max-age=63072000"]


async def test_a_sane_request_id_is_kept_all_the_way(client: Client) -> None:
    told = (await client.get("/api/v1/me", headers={"X-Request-ID": "my-request-1"})).json()
    assert told["headers"]["X-Request-ID"] == "my-request-1"


async def test_a_proxy_of_ours_in_front_is_believed_about_its_client(narrow: Edge) -> None:
    async with narrow.client() as client:
        told = (await client.get("/api/v1/me", headers={"X-Forwarded-For": "203.0.113.9, 198.51.100.7"})).json()
    assert told["headers"]["X-Forwarded-For"] == "198.51.100.7"


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [
        ("/api/v1/leave-requests", 1024 * 1024, 200),
        ("/api/v1/leave-requests", 1024 * 1024 + 1, 413),
        ("/api/v1/attachments", 1024 * 1024 + 1, 413),
        ("/api/v1/imports/employees", 8 * 1024 * 1024, 200),
        ("/api/v1/imports/employees", 10 * 1024 * 1024, 413),
    ],
)
async def test_bodies_are_as_large_as_their_path_allows(client: Client, path: str, size: int, status: int) -> None:
    answer = await client.post(path, content=b"x" * size)
    assert answer.status_code == status
    if status == 413:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "too-large"
        assert answer.json()["instance"] == path


async def test_a_problem_repeats_nothing_that_would_break_its_document(client: Client) -> None:
    answer = await client.post('/api/v1/leave-requests"}{/x?token=secret', content=b"x" * 2_000_000)
    assert answer.json()["instance"] == "/api/v1/leave-requests"


async def test_live_updates_come_as_they_happen(own: tuple[Edge, list[Upstream]]) -> None:
    edge, upstreams = own
    async with (
        edge.client() as client,
        client.stream("GET", "/api/v1/events", headers={"Accept-Encoding": "gzip"}) as answer,
    ):
        lines = answer.aiter_lines()
        assert await asyncio.wait_for(anext(lines), 5) == "data: first"
        for one in upstreams:
            one.more.set()
        assert await asyncio.wait_for(anext(lines), 5) == ""
        assert await asyncio.wait_for(anext(lines), 5) == "data: second"


async def test_a_copy_of_the_gateway_that_dies_costs_no_request(own: tuple[Edge, list[Upstream]]) -> None:
    edge, (one, two) = own
    async with edge.client() as client:
        answers = [(await client.get("/api/v1/me")).json()["by"] for _ in range(20)]
        assert set(answers) == {"one", "two"}
        await one.stop()
        answers = [(await client.get("/api/v1/me")).json()["by"] for _ in range(20)]
        assert set(answers) == {"two"}
        assert (await client.post("/api/v1/leave-requests", json={})).json()["by"] == "two"
        await two.stop()
        answer = await client.get("/api/v1/me")
        assert (answer.status_code, answer.headers["retry-after"], answer.json()["code"]) == (503, "5", "unavailable")
        assert (await client.get("/requests")).status_code == 200, "the app itself is still there"


async def test_metrics_and_probes_are_not_for_outside(edge: Edge, client: Client) -> None:
    for path in ("/metrics", "/nginx/status", "/livez"):
        assert (await client.get(path)).text == PAGE, "such a path is a page of the app"
    async with httpx.AsyncClient() as inside:
        status = await inside.get(f"http://127.0.0.1:{edge.status}/nginx/status")
        ready = await inside.get(f"http://127.0.0.1:{edge.status}/readyz")
    assert "Active connections" in status.text
    assert ready.text == "ready\n"


# Whether it takes requests --------------------------------------------------------------------------------------------


async def test_whoever_asks_from_outside_learns_whether_requests_are_taken_and_nothing_else(
    own: tuple[Edge, list[Upstream]],
) -> None:
    edge, upstreams = own
    async with edge.client() as client:
        ready = await client.get("/readyz")
        asked_for_its_head = await client.head("/readyz")
        for one in upstreams:
            one.ready = False
        unready = await client.get("/readyz")
        for one in upstreams:
            await one.stop()
        gone = await client.get("/readyz")
        page = await client.get("/requests")
    assert (ready.status_code, ready.text) == (200, "ready\n")
    assert (asked_for_its_head.status_code, asked_for_its_head.text) == (200, "")
    assert (unready.status_code, unready.text) == (503, "not ready\n")
    assert (gone.status_code, gone.text) == (503, "not ready\n")
    for answer in (ready, unready, gone):
        assert answer.headers["content-type"].startswith("text/plain")
        assert answer.headers.get_list("cache-control") == ["no-store"]
        assert answer.headers.get_list("strict-transport-security") == ["max-age=63072000"]
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
        assert "cdn-cache-control" not in answer.headers
    assert page.text == PAGE, "the app itself is still there"


async def test_a_copy_that_takes_no_requests_does_not_speak_for_the_others(own: tuple[Edge, list[Upstream]]) -> None:
    edge, (one, two) = own
    one.ready = False
    async with edge.client() as client:
        answers = [await client.get("/readyz") for _ in range(10)]
    assert {(answer.status_code, answer.text) for answer in answers} == {(200, "ready\n")}
    assert one.seen
    assert two.seen


async def test_nobody_sends_anything_there(client: Client) -> None:
    assert (await client.post("/readyz", content=b"x")).status_code == 403


# Limits ---------------------------------------------------------------------------------------------------------------


def _from(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


@asynccontextmanager
async def _streaming(client: httpx.AsyncClient, headers: dict[str, str]) -> AsyncIterator[None]:
    """Hold a connection of an address, on which a stream has begun."""
    async with client.stream("GET", "/api/v1/events", headers=headers) as stream:
        lines = stream.aiter_lines()  # kept, for the connection ends with what reads it
        assert await anext(lines) == "data: first"
        yield


async def test_too_many_requests_from_an_address_are_refused_and_others_are_served(narrow: Edge) -> None:
    async with narrow.client() as client:
        flood = [await client.get("/api/v1/me", headers=_from("198.51.100.1")) for _ in range(10)]
        other = await client.get("/api/v1/me", headers=_from("198.51.100.2"))
    refused = [one for one in flood if one.status_code == 429]
    assert [one.status_code for one in flood[:6]] == [200] * 6
    assert refused
    assert refused[0].headers["retry-after"] == "2"
    assert refused[0].json()["code"] == "too-many-requests"
    assert other.status_code == 200


async def test_probes_are_answered_where_their_address_has_used_up_its_requests(narrow: Edge) -> None:
    mine = _from("198.51.100.7")
    async with narrow.client() as client, _streaming(client, mine), _streaming(client, mine):
        refused = [(await client.get("/api/v1/me", headers=mine)).status_code for _ in range(10)]
        probed = [(await client.get("/readyz", headers=mine)).status_code for _ in range(10)]
    assert set(refused) == {429}
    assert set(probed) == {200}


async def test_attempts_to_sign_in_have_a_limit_of_their_own(narrow: Edge) -> None:
    async with narrow.client() as client:
        tried = [await client.post("/api/v1/auth/login", headers=_from("198.51.100.3"), json={}) for _ in range(5)]
    assert [one.status_code for one in tried] == [200, 200, 200, 429, 429]


async def test_an_address_has_so_many_connections_and_no_more(narrow: Edge) -> None:
    mine = _from("198.51.100.4")
    async with narrow.client() as client, _streaming(client, mine), _streaming(client, mine):
        refused = await client.get("/api/v1/me", headers=mine)
        served = await client.get("/api/v1/me", headers=_from("198.51.100.5"))
    assert (refused.status_code, served.status_code) == (429, 200)


# The log --------------------------------------------------------------------------------------------------------------


async def test_the_log_has_ecs_fields_and_nothing_of_a_person(narrow: Edge) -> None:
    before = len(narrow.access_log())
    async with narrow.client() as client:
        await client.get(
            "/api/v1/calendar.ics?token=secret-token", headers={**_from("198.51.100.6"), "X-Request-ID": "request-77"}
        )
        await client.get("/api/v1/employees/0192-person", headers=_from("2001:db8:1:2::3"))
    until = time.monotonic() + 5
    while len(lines := narrow.access_log()) < before + 2:
        assert time.monotonic() < until, narrow.log()
        await asyncio.sleep(0.05)
    first, second = lines[-2:]
    assert first["http.request.id"] == "request-77"
    assert (first["url.path"], first["source.ip"]) == ("/api/v1/calendar", "198.51.100.0")
    assert (second["url.path"], second["source.ip"]) == ("/api/v1/employees", "2001:db8:1::")
    assert first["http.response.status_code"] == 200
    assert "secret-token" not in narrow.log()
    assert "0192-person" not in narrow.log()


# Starting -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LMS_DOMAIN", "leave.test; return 200"),
        ("LMS_EDGE_GATEWAYS", "gateway"),
        ("LMS_EDGE_BURST", "0"),
        ("LMS_EDGE_TRUSTED_PROXIES", "anybody"),
        ("LMS_EDGE_BEHIND_BALANCER", "yes"),
        ("LMS_EDGE_HTTP_LISTEN", "80;}\nhttp {"),
    ],
)
def test_a_wrong_variable_stops_the_start_with_its_name(stopped: Edge, variable: str, value: str) -> None:
    stopped.environment[variable] = value
    code, said = stopped.check()
    assert code == 1
    assert f"{variable} is" in said
