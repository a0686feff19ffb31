"""The web app in a real browser, before the whole system: what people do with it every day."""

import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect
from tests.e2e.company import Company, Employee
from tests.waiting import eventually

from lms.cli.system import WEB, System

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
PASSWORD = "a long enough password"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--lang=en-GB")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}

pytestmark = pytest.mark.timeout(300)


@dataclass
class Team:
    """A manager with two reports, somebody in HR, and their leave type."""

    annual: str
    boss: Employee
    anna: Employee
    ben: Employee
    hr: Employee
    emails: dict[str, str]


@pytest.fixture(scope="module")
async def browser(system: System) -> AsyncIterator[Browser]:
    del system
    assert (WEB / "index.html").is_file(), "the web app is not built: scripts/web build"
    program = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    assert program is not None, "no Chromium is installed: scripts/bootstrap tests"
    expect.set_options(timeout=60_000)
    async with async_playwright() as playwright:
        started = await playwright.chromium.launch(executable_path=program, args=list(FLAGS))
        yield started
        await started.close()


@pytest.fixture(scope="module")
def team(company: Company) -> Team:
    company.set_clock("2026-03-02")
    slug = company.leave_type(name="Holiday leave", colour="#2e7d32")
    company.policy(slug, 20, "2025-01-01")
    emails: dict[str, str] = {}

    def hire(given: str, family: str, *roles: str, manager: Employee | None = None) -> Employee:
        email = f"{given}.{family}.{slug}@test.example".lower()
        who = company.hire(
            manager=manager, roles=("employee", *roles), given_name=given, family_name=family, email=email,
            password=PASSWORD,
        )  # fmt: skip
        emails[who.id] = email
        return who

    boss = hire("Grace", "Hopper", "manager")
    anna, ben = hire("Anna", "Arendt", manager=boss), hire("Ben", "Buber", manager=boss)
    found = Team(slug, boss, anna, ben, hire("Hedy", "Lamarr", "hr"), emails)
    for who in (anna, ben, found.hr):
        company.becomes(who, slug, "20.00")
    return found


Visit = Callable[..., Awaitable[Page]]


@pytest.fixture
async def visit(browser: Browser, system: System, team: Team) -> AsyncIterator[Visit]:
    """Return a function that signs somebody in, in a browser of their own, and gives the page."""
    wrong: list[str] = []
    async with AsyncExitStack() as stack:

        async def signed_in(who: Employee, path: str = "/", **options: Any) -> Page:
            context: BrowserContext = await browser.new_context(
                base_url=system.url, locale="en-GB", timezone_id="Pacific/Honolulu", **{"viewport": DESK, **options}
            )
            stack.push_async_callback(context.close)
            context.set_default_timeout(60_000)
            page = await context.new_page()
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", lambda said: wrong.append(said.text) if "Content Security" in said.text else None)
            await page.goto(path)
            await page.get_by_label("E-mail").fill(team.emails[who.id])
            await page.get_by_label("Password").fill(PASSWORD)
            await page.get_by_role("button", name="Sign in").click()
            await expect(page.get_by_role("navigation", name="Main")).to_be_attached()
            return page

        yield signed_in
    assert wrong == [], "errors of scripts, or something that the content security policy forbids"


def days(first: int, last: int) -> str:
    """Return a pattern of a period within a month: what stands around the dash is the browser's affair."""
    return rf"{first}\s?\u2013\s?{last}"


async def ask(page: Page, first: str, last: str) -> None:
    """Fill in the form for a request of the team's leave type."""
    await page.get_by_role("combobox", name="Type of leave").click()
    await page.get_by_role("option", name="Holiday leave").click()
    await page.get_by_label("First day").fill(first)
    await page.get_by_label("Last day").fill(last)


async def test_leave_is_previewed_asked_for_approved_by_another_and_seen_approved_without_a_reload(
    visit: Visit, team: Team
) -> None:
    anna = await visit(team.anna)
    await expect(anna.get_by_role("heading", name="Hello, Anna")).to_be_visible()
    await anna.get_by_role("main").get_by_role("link", name="Request leave").click()
    await ask(anna, "2026-05-04", "2026-05-08")
    preview = anna.get_by_role("region", name="What it means")
    await expect(preview.get_by_text("5 days", exact=True)).to_be_visible()
    row = preview.get_by_role("row", name="8 May 2026")
    await expect(row.get_by_role("cell")).to_have_text(["20 days", "15 days"])
    await anna.get_by_label("Reason").fill("The sea")
    await anna.get_by_role("button", name="Send the request").click()
    await expect(anna.get_by_role("heading", name="Leave request")).to_be_visible()
    status = anna.get_by_role("main").locator(".MuiChip-root").first
    await expect(status).to_have_text("Pending")

    grace = await visit(team.boss, "/approvals")
    await grace.get_by_role("button", name="Reason and overlaps").click()
    await expect(grace.get_by_text("The sea")).to_be_visible()
    await grace.get_by_role("button", name=re.compile(f"Approve Anna Arendt, {days(4, 8)} May 2026")).click()
    dialog = grace.get_by_role("dialog")
    await dialog.get_by_label("Comment").fill("Enjoy")
    await dialog.get_by_role("button", name="Approve").click()
    await expect(grace.get_by_text("Nothing waits for your decision.")).to_be_visible()

    await expect(status).to_have_text("Approved")
    await expect(anna.get_by_role("region", name="What happened").get_by_text("Grace Hopper")).to_be_visible()
    await expect(anna.get_by_role("link", name="Notifications, 1 unread")).to_be_visible()


async def test_an_approver_sees_a_request_come_and_a_colleague_sees_only_an_absence(
    visit: Visit, team: Team, company: Company
) -> None:
    grace = await visit(team.boss, "/approvals")
    await expect(grace.get_by_role("tab", name="Waiting")).to_be_visible()
    asked = company.ask(team.ben, team.annual, "2026-06-01", "2026-06-02", reason="Private")
    await expect(
        grace.get_by_role("button", name=re.compile(f"Approve Ben Buber, {days(1, 2)} Jun 2026"))
    ).to_be_visible()
    anna = await visit(team.anna, "/calendar?month=2026-06")
    absence = anna.get_by_role("cell", name=re.compile(f"Absent, {days(1, 2)} Jun 2026, Pending"))
    await expect(absence).to_be_visible()
    await expect(anna.get_by_text("Private")).to_have_count(0)
    company.do("POST", f"/leave-requests/{asked['id']}/cancel", team.ben, {})
    await expect(
        grace.get_by_role("button", name=re.compile(f"Approve Ben Buber, {days(1, 2)} Jun 2026"))
    ).to_have_count(0)


async def test_a_single_day_is_cancelled(visit: Visit, team: Team, company: Company) -> None:
    taken = company.take(team.ben, team.boss, team.annual, "2026-07-06", "2026-07-08")
    ben = await visit(team.ben, f"/requests/{taken['id']}")
    await ben.get_by_role("button", name="Cancel leave").click()
    dialog = ben.get_by_role("dialog", name="Cancel leave")
    await dialog.get_by_role("radio", name="Single days").check()
    await expect(dialog.get_by_role("button", name="Cancel 0 days")).to_be_disabled()
    await dialog.get_by_role("checkbox", name=re.compile("Wed,? 8 July 2026")).check()
    await dialog.get_by_label("Reason").fill("A meeting")
    await dialog.get_by_role("button", name="Cancel 1 day").click()
    await expect(dialog).to_have_count(0)
    eventually(
        lambda: company.request(taken["id"])["open"] or company.request(taken["id"])["amount"]["days"] == "2.00",
        "the day is neither cancelled nor asked for",
    )


async def test_many_requests_are_approved_at_once(visit: Visit, team: Team, company: Company) -> None:
    asked = [
        company.ask(who, team.annual, day, day) for who in (team.anna, team.ben) for day in ("2026-08-03", "2026-08-05")
    ]
    grace = await visit(team.boss, "/approvals")
    await expect(grace.get_by_role("button", name=re.compile("Approve Ben Buber, Wed,? 5 August 2026"))).to_be_visible()
    await grace.get_by_role("checkbox", name="Choose all").check()
    await grace.get_by_role("button", name="Approve all chosen").click()
    await grace.get_by_role("dialog").get_by_role("button", name="Approve").click()
    await expect(grace.get_by_text("Nothing waits for your decision.")).to_be_visible()
    for one in asked:
        company.until_status(one["id"], "approved")


async def test_a_file_of_people_is_checked_line_by_line_and_its_good_rows_are_imported(
    visit: Visit, team: Team, company: Company, tmp_path: Path
) -> None:
    known = company.do("GET", f"/employees/{team.anna.id}")
    place = {
        "department": company.do("GET", f"/departments/{known['department_id']}")["name"],
        "location": company.do("GET", f"/locations/{known['location_id']}")["name"],
        "schedule": company.do("GET", f"/schedules/{known['schedule_id']}")["name"],
    }
    header = "email,given_name,family_name,department,location,schedule,employed_from"
    rest = f"{place['department']},{place['location']},{place['schedule']}"
    file = tmp_path / "people.csv"
    file.write_text(
        f"{header}\nradia.{team.annual}@test.example,Radia,Perlman,{rest},2026-03-01\n"
        f"no address,Vint,Cerf,{rest},2026-03-01\nkaren.{team.annual}@test.example,Karen,Jones,{rest},yesterday\n"
    )
    hedy = await visit(team.hr, "/people")
    await hedy.get_by_role("link", name="Import people").click()
    await hedy.locator("input[type=file]").set_input_files(file)
    await expect(hedy.get_by_text("1 of 3 rows can be imported.")).to_be_visible()
    errors = hedy.get_by_role("region", name="Mistakes in the file")
    await expect(errors.get_by_role("row", name="3 email")).to_be_visible()
    await expect(errors.get_by_role("row", name="4 employed_from")).to_be_visible()
    await hedy.get_by_role("button", name="Import the 1 valid row").click()
    await expect(hedy.get_by_role("heading", name="The import is finished")).to_be_visible()
    await expect(hedy.get_by_text("1 of 1 people are employed")).to_be_visible()
    await hedy.goto("/people")
    await hedy.get_by_role("searchbox").fill("perl")
    await expect(hedy.get_by_role("link", name="Radia Perlman")).to_be_visible()


async def test_hr_adjusts_a_balance_and_the_person_sees_where_it_comes_from(visit: Visit, team: Team) -> None:
    ben = await visit(team.ben)
    hedy = await visit(team.hr, f"/people/{team.ben.id}")
    await hedy.get_by_role("button", name="Adjust a balance").click()
    dialog = hedy.get_by_role("dialog")
    await dialog.get_by_role("combobox", name="Type of leave").click()
    await hedy.get_by_role("option", name="Holiday leave").click()
    await dialog.get_by_label("Days").fill("1.5")
    await dialog.get_by_label("Reason").fill("Worked through a holiday")
    await dialog.get_by_role("button", name="Adjust").click()
    await expect(dialog).to_have_count(0)
    await ben.get_by_role("button", name="Holiday leave: where does this come from?").click()
    drawer = ben.get_by_role("dialog", name="Holiday leave: where it comes from")
    await expect(drawer.get_by_role("row", name="Adjusted")).to_contain_text("1.5 days")
    await drawer.get_by_role("tab", name="Ledger").click()
    await expect(drawer.get_by_text("“Worked through a holiday”")).to_be_visible()


async def test_a_manager_names_a_stand_in_and_ends_it(visit: Visit, team: Team) -> None:
    grace = await visit(team.boss, "/approvals?tab=stand-ins")
    await grace.get_by_label("Who decides in your place").fill("Arend")
    await grace.get_by_role("option", name="Anna Arendt").click()
    await grace.get_by_label("First day").fill("2026-03-09")
    await grace.get_by_label("Last day").fill("2026-03-13")
    await grace.get_by_role("button", name="Name the stand-in").click()
    end = grace.get_by_role("button", name=re.compile(f"End: Anna Arendt, {days(9, 13)} Mar 2026"))
    await end.click()
    await expect(end).to_have_count(0)


async def test_an_expired_access_token_is_refreshed_unseen_and_an_ended_session_leads_back_after_signing_in(
    visit: Visit, team: Team
) -> None:
    anna = await visit(team.anna)
    await anna.context.clear_cookies(name="lms_access")
    await anna.get_by_role("link", name="Requests", exact=True).click()
    await expect(anna.get_by_role("heading", name="My requests")).to_be_visible()
    await expect(anna.get_by_role("link", name=re.compile(f"{days(4, 8)} May 2026")).first).to_be_visible()
    assert any(cookie["name"] == "lms_access" for cookie in await anna.context.cookies())

    await anna.context.clear_cookies(name="lms_access")
    await anna.context.clear_cookies(name="lms_refresh")
    await anna.get_by_role("button", name="Approved", exact=True).click()
    await expect(anna.get_by_text("Your session has ended.")).to_be_visible()
    await anna.get_by_label("E-mail").fill(team.emails[team.anna.id])
    await anna.get_by_label("Password").fill(PASSWORD)
    await anna.get_by_role("button", name="Sign in").click()
    await expect(anna.get_by_role("heading", name="My requests")).to_be_visible()
    await anna.get_by_role("button", name="Menu of Anna Arendt").click()
    await anna.get_by_role("menuitem", name="Sign out").click()
    await expect(anna.get_by_role("heading", name="Sign in")).to_be_visible()
    assert not await anna.context.cookies(), "whoever signs out leaves nothing behind"


async def test_two_tabs_refresh_one_session_without_ending_it(visit: Visit, team: Team) -> None:
    one = await visit(team.ben)
    other = await one.context.new_page()
    await other.goto("/requests")
    await expect(other.get_by_role("heading", name="My requests")).to_be_visible()
    refreshes: list[int] = []
    one.context.on("response", lambda said: refreshes.append(said.status) if "/auth/refresh" in said.url else None)
    await one.context.clear_cookies(name="lms_access")
    await one.get_by_role("link", name="Team calendar").click()
    await other.get_by_role("link", name="Home").click()
    await expect(one.get_by_role("heading", name="Team calendar")).to_be_visible()
    await expect(other.get_by_role("heading", name="Hello, Ben")).to_be_visible()
    await expect(other.get_by_role("button", name="Holiday leave: where does this come from?")).to_be_visible()
    assert set(refreshes) == {200}


async def violations(page: Page) -> list[str]:
    """Return what axe finds against WCAG 2.2 A and AA."""
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    found = await page.evaluate(
        "() => axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})"
    )
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in found["violations"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_is_accessible(visit: Visit, team: Team, company: Company, scheme: str) -> None:
    asked = company.ask(team.ben, team.annual, f"2026-09-{'07' if scheme == 'light' else '08'}", "2026-09-09")
    hedy = await visit(team.hr, color_scheme=scheme)
    pages = {
        "/": "Hello, Hedy", "/requests": "My requests", "/requests/new?day=2026-09-07": "Request leave",
        "/calendar?month=2026-09": "Team calendar", "/approvals": "Approvals", "/notifications": "Notifications",
        "/people": "People", f"/people/{team.ben.id}": "Ben Buber", "/people/import": "Import people",
        "/rules": "Leave types and policies", f"/requests/{asked['id']}": "Leave request",
        "/nowhere": "There is no such page",
    }  # fmt: skip
    found: dict[str, list[str]] = {}
    for path, heading in pages.items():
        await hedy.goto(path)
        await expect(hedy.get_by_role("heading", name=heading, level=1)).to_be_visible()
        await expect(hedy.locator(".MuiSkeleton-root, [role=progressbar]")).to_have_count(0)
        found[path] = await violations(hedy)
    await hedy.goto("/")
    await hedy.get_by_role("button", name="Holiday leave: where does this come from?").click()
    await expect(hedy.get_by_role("row", name="Granted")).to_be_visible()
    found["the explanation"] = await violations(hedy)
    company.do("POST", f"/leave-requests/{asked['id']}/cancel", team.ben, {})
    assert {path: one for path, one in found.items() if one} == {}


async def test_it_works_on_a_phone(visit: Visit, team: Team) -> None:
    anna = await visit(team.anna, viewport=PHONE, has_touch=True)
    await expect(anna.get_by_role("heading", name="Hello, Anna")).to_be_visible()
    for name, heading in (("Team calendar", "Team calendar"), ("Requests", "My requests")):
        await anna.get_by_role("button", name="Menu", exact=True).click()
        await anna.get_by_role("link", name=name, exact=True).click()
        await expect(anna.get_by_role("heading", name=heading, level=1)).to_be_visible()
        wide = await anna.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{name} is wider than the screen"
    await anna.get_by_role("link", name="Request leave").click()
    await ask(anna, "2026-10-05", "2026-10-05")
    await expect(
        anna.get_by_role("region", name="What it means").get_by_text("1 day", exact=True).first
    ).to_be_visible()
    await anna.get_by_role("button", name="Send the request").click()
    await expect(anna.get_by_text(re.compile("Mon,? 5 October 2026")).first).to_be_visible()
