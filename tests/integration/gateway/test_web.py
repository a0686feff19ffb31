"""The web app's files at the gateway."""

from pathlib import Path

import pytest
from tests.integration.gateway.conftest import Upstream, gateway

PAGE = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A build of the web app."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>LMS</title>")
    (tmp_path / "assets" / "app-1a2b.js").write_text("const answer = 42;\n" * 200)
    (tmp_path / "favicon.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    return tmp_path


async def test_every_page_of_the_app_is_its_one_page_under_a_strict_policy(
    redis_url: str, upstream: Upstream, built: Path
) -> None:
    async with gateway(redis_url, upstream.url, web_folder=built) as client:
        pages = [await client.get(path, headers=PAGE) for path in ("/", "/requests/0190-abc", "/people/import")]
    assert [one.status_code for one in pages] == [200] * 3
    assert {one.text for one in pages} == {"<!doctype html><title>LMS</title>"}
    policy = pages[0].headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert pages[0].headers["cache-control"] == "no-cache"


async def test_files_named_by_their_content_are_kept_for_ever_and_come_compressed(
    redis_url: str, upstream: Upstream, built: Path
) -> None:
    async with gateway(redis_url, upstream.url, web_folder=built) as client:
        script = await client.get("/assets/app-1a2b.js")
        icon = await client.get("/favicon.svg")
        again = await client.get("/favicon.svg", headers={"If-None-Match": icon.headers["etag"]})
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert script.headers["content-encoding"] == "gzip"
    assert icon.headers["content-type"].startswith("image/svg+xml")
    assert again.status_code == 304


async def test_what_is_no_file_and_no_page_is_not_found(redis_url: str, upstream: Upstream, built: Path) -> None:
    outside = built.parent / "secret.txt"
    outside.write_text("nobody reads this")
    async with gateway(redis_url, upstream.url, web_folder=built) as client:
        found = [
            await client.get("/assets/gone.js", headers=PAGE),
            await client.get("/requests/1", headers={"Accept": "application/json"}),
            await client.get("/%2e%2e/secret.txt"),
            await client.post("/", headers=PAGE),
        ]
        api, probe = await client.get("/api/v1/nothing"), await client.get("/livez")
    assert [one.status_code for one in found] == [404, 404, 404, 404]
    assert found[0].json()["code"] == "not-found"
    assert api.status_code == 401
    assert "script-src" not in probe.headers["content-security-policy"]


async def test_without_a_build_it_says_how_to_make_one(redis_url: str, upstream: Upstream) -> None:
    async with gateway(redis_url, upstream.url) as client:
        answer = await client.get("/", headers=PAGE)
    assert answer.status_code == 404
    assert "scripts/web build" in answer.json()["detail"]
