"""The demo behind lighttpd, each part under its own user, asked by a plain HTTP client."""

from __future__ import annotations

import http.client
import pwd
import re
import stat
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

import demo_site
import pytest
from demo_site import WALL, Running, Visitor

if not demo_site.is_root():
    pytest.skip("needs root: the parts run under users of their own", allow_module_level=True)

XHTML = "application/xhtml+xml"
PAGES = ("/status/", "/status/processes", "/status/privileges", "/notes/", "/notes/privileges")


@pytest.fixture(scope="module")
def demo() -> Iterator[Running]:
    with demo_site.running() as running:
        yield running


@pytest.fixture
def visitor(demo: Running) -> Visitor:
    return demo.visitor()


def add(visitor: Visitor, title: str, text: str = "") -> int:
    """Adds a note as a browser would and returns its id."""
    token = visitor.hidden("/notes/")["token"]
    answer = visitor.post("/notes/", {"token": token, "title": title, "text": text})
    assert answer.status == 303, answer.text
    ids = re.findall(r'href="/notes/([0-9]+)/edit"', visitor.get("/notes/").text)
    return max(map(int, ids))


class TestPages:
    @pytest.mark.parametrize("path", PAGES)
    def test_is_well_formed_xhtml_and_the_same_as_html(self, visitor: Visitor, path: str) -> None:
        as_xhtml, as_html = visitor.get(path, Accept=XHTML), visitor.get(path, Accept="text/html")
        assert (as_xhtml.status, as_xhtml.headers.get_content_type()) == (200, XHTML)
        assert as_html.headers.get_content_type() == "text/html"
        root = ElementTree.fromstring(as_xhtml.body)
        assert root.tag == "{http://www.w3.org/1999/xhtml}html"
        ids = [element.get("id") for element in root.iter() if element.get("id")]
        assert len(ids) == len(set(ids))

    @pytest.mark.parametrize("path", PAGES)
    def test_tells_browsers_to_run_nothing_but_the_site_s_own_files(self, visitor: Visitor, path: str) -> None:
        answer = visitor.get(path)
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "private, no-cache"
        assert " style=" not in answer.text
        assert not re.search(r"<script(?![^>]* src=)|<style|\son[a-z]+=", answer.text)

    def test_the_root_leads_to_the_overview(self, visitor: Visitor) -> None:
        answer = visitor.get("/")
        assert answer.status in (301, 302, 303, 307, 308)
        assert answer.headers["Location"].endswith("/status/")

    @pytest.mark.parametrize(
        "path",
        ["/notes/%zz", "/notes/%", "/notes/%2500", "/notes/%00", "/notes/7%00/edit", "/notes/%FF", "/notes/%ED%B2%80"],
    )
    def test_a_malformed_path_is_a_miss_or_a_bad_request(self, visitor: Visitor, path: str) -> None:
        assert visitor.get(path).status in (400, 404)
        assert visitor.get("/notes/").status == 200

    @pytest.mark.parametrize("size", [20_000, 1_000_000])
    def test_a_path_that_is_too_long_is_refused(self, visitor: Visitor, size: int) -> None:
        try:
            assert visitor.get("/notes/" + "7" * size).status in (400, 404, 414, 431)
        except (ConnectionError, http.client.BadStatusLine):
            assert size == 1_000_000  # the front end hangs up while it is being sent
        assert visitor.get("/notes/").status == 200

    @pytest.mark.parametrize("backend", ["status", "notes"])
    def test_says_which_user_made_it(self, demo: Running, visitor: Visitor, backend: str) -> None:
        account = pwd.getpwnam(demo.user(backend))
        assert (
            f"made by user <strong>{account.pw_name}</strong>, uid {account.pw_uid},"
            in visitor.get(f"/{backend}/").text
        )

    def test_shows_every_part_with_its_user(self, demo: Running, visitor: Visitor) -> None:
        words = visitor.get("/status/").main()
        assert re.search(r"Supervisor root 0 ", words)
        assert re.search(r"Front end lighttpd www-data ", words)
        for backend in ("status", "notes"):
            assert re.search(rf"Back end {backend}( this page)? {demo.user(backend)} ", words)

    def test_both_spellings_of_a_directory_lead_there(self, visitor: Visitor) -> None:
        answer = visitor.get("/notes")
        assert answer.status in (301, 302, 303, 307, 308)
        assert answer.headers["Location"].endswith("/notes/")

    def test_what_is_not_there(self, visitor: Visitor) -> None:
        for path in ("/status/nothing", "/notes/999999/edit", "/notes/x/edit", "/static/nothing.css", "/statusx"):
            assert visitor.get(path).status == 404

    def test_processes_sorted_by_a_link(self, visitor: Visitor) -> None:
        page = ElementTree.fromstring(visitor.get("/status/processes?sort=pid&rows=200", Accept=XHTML).body)
        name = "{http://www.w3.org/1999/xhtml}"
        rows = page.findall(f".//{name}tbody/{name}tr")
        pids = [int("".join(row[1].itertext())) for row in rows]
        assert pids == sorted(pids)
        (sorted_head,) = [head for head in page.iter(f"{name}th") if head.get("aria-sort")]
        assert "".join(sorted_head.itertext()) == "pid"

    def test_a_nonsense_order_is_the_usual_one(self, visitor: Visitor) -> None:
        assert "by CPU" in visitor.get("/status/processes?sort=%27%3Cb%3E&rows=-1").main()


class TestPrivileges:
    @pytest.mark.parametrize(("backend", "attempts"), [("status", 8), ("notes", 7)])
    def test_the_kernel_refuses_all_that_a_back_end_tries(self, visitor: Visitor, backend: str, attempts: int) -> None:
        words = visitor.get(f"/{backend}/privileges").main()
        assert f"The kernel refused {attempts} of {attempts} attempts of {backend}," in words
        assert "Allowed" not in words
        assert "Not tried" not in words
        assert "Permission denied (error 13)" in words

    def test_notes_lie_where_only_their_user_gets(self, demo: Running, visitor: Visitor) -> None:
        add(visitor, "modes")
        uid = pwd.getpwnam(demo.user("notes")).pw_uid
        folder = demo.state("notes")
        assert (stat.S_IMODE(folder.stat().st_mode), folder.stat().st_uid) == (0o700, uid)
        for name in ("notes.sqlite", "form.key"):
            facts = (folder / name).stat()
            assert (stat.S_IMODE(facts.st_mode) & 0o077, facts.st_uid) == (0, uid)


class TestNotes:
    def test_add_find_change_delete(self, visitor: Visitor) -> None:
        note = add(visitor, "Filter of the fan", "Change it in May.\r\nÄÖÜ 😀 <b>&amp;</b>")
        shown = visitor.get("/notes/")
        assert "Filter of the fan" in shown.main()
        assert "ÄÖÜ 😀 &lt;b&gt;&amp;amp;&lt;/b&gt;" in shown.text
        assert "Filter of the fan" in visitor.get("/notes/?q=%C3%A4%C3%B6%C3%BC").main()
        assert "No note has" in visitor.get("/notes/?q=zzz").main()
        hidden = visitor.hidden(f"/notes/{note}/edit")
        answer = visitor.post(f"/notes/{note}/edit", {**hidden, "title": "Filter", "text": "In June."})
        assert answer.status == 303
        assert "was changed" in visitor.get(answer.headers["Location"]).main()
        assert "In June." in visitor.get("/notes/").main()
        asked = visitor.get(f"/notes/{note}/delete")
        assert "Delete this note?" in asked.main()
        assert "In June." in visitor.get("/notes/").main()
        answer = visitor.post(f"/notes/{note}/delete", visitor.hidden(f"/notes/{note}/delete"))
        assert "was deleted" in visitor.get(answer.headers["Location"]).main()
        assert visitor.get(f"/notes/{note}/edit").status == 404

    @pytest.mark.parametrize(
        ("title", "text", "message"),
        [
            ("", "kept text", "A note needs a title."),
            ("   ", "kept text", "A note needs a title."),
            ("kept title " * 20, "kept text", "characters; 120 fit"),
            ("kept title", "long " * 2001, "characters; 10,000 fit"),
        ],
    )
    def test_a_mistake_is_told_and_nothing_typed_is_lost(
        self, visitor: Visitor, title: str, text: str, message: str
    ) -> None:
        token = visitor.hidden("/notes/")["token"]
        answer = visitor.post("/notes/", {"token": token, "title": title, "text": text})
        assert answer.status == 422
        assert message in answer.text
        assert 'aria-invalid="true"' in answer.text
        assert text.strip() in answer.text
        assert title.strip() in answer.text
        assert "kept t" not in visitor.get("/notes/?q=kept").main().replace("“kept”", "")

    def test_of_two_who_change_a_note_the_second_is_asked(self, visitor: Visitor) -> None:
        note = add(visitor, "shared")
        first = visitor.hidden(f"/notes/{note}/edit")
        second = dict(first)
        assert visitor.post(f"/notes/{note}/edit", {**first, "title": "first"}).status == 303
        answer = visitor.post(f"/notes/{note}/edit", {**second, "title": "second"})
        assert answer.status == 409
        assert "in the meantime" in answer.text
        assert 'value="second"' in answer.text
        assert "first" in visitor.get("/notes/?q=first").main()
        assert visitor.post(f"/notes/{note}/edit", {"token": first["token"], "title": "third"}).status == 409
        again = dict(re.findall(r'type="hidden" name="([^"]+)" value="([^"]*)"', answer.text))
        assert visitor.post(f"/notes/{note}/edit", {**again, "title": "second"}).status == 303

    def test_many_at_once_are_all_kept(self, demo: Running) -> None:
        def write(number: int) -> None:
            visitor = demo.visitor()
            token = visitor.hidden("/notes/")["token"]
            for part in range(5):
                answers.append(visitor.post("/notes/", {"token": token, "title": f"crowd {number} {part}"}).status)

        answers: list[int] = []
        writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert answers == [303] * 30
        words = demo.visitor().get("/notes/?q=crowd").main()
        assert "30 notes with “crowd”" in words
        assert "Page 1 of 2" in words
        assert "Page 2 of 2" in demo.visitor().get("/notes/?q=crowd&page=7").main()

    @pytest.mark.parametrize(
        ("fields", "headers"),
        [
            ({}, {}),
            ({"token": ""}, {}),
            ({"token": "0" * 64}, {}),
            ({"token": "ä"}, {}),
            ({"token": None}, {"Sec-Fetch-Site": "cross-site"}),
            ({"token": None}, {"Sec-Fetch-Site": "same-site"}),
            ({"token": None}, {"Origin": "http://evil.example"}),
            ({"token": None}, {"Origin": "null"}),
        ],
    )
    def test_what_another_site_s_page_sends_is_refused(
        self, visitor: Visitor, fields: dict[str, str | None], headers: dict[str, str]
    ) -> None:
        token = visitor.hidden("/notes/")["token"]
        sent = {name: token if value is None else value for name, value in fields.items()}
        answer = visitor.post("/notes/", {"title": "forged", **sent}, **headers)
        assert answer.status == 403
        assert "forged" not in visitor.get("/notes/").main()

    def test_a_token_is_of_no_use_to_another_visitor(self, demo: Running, visitor: Visitor) -> None:
        token = visitor.hidden("/notes/")["token"]
        other = demo.visitor()
        other.get("/notes/")
        assert other.post("/notes/", {"title": "forged", "token": token}).status == 403

    def test_the_cookie_stays_with_this_site_and_out_of_scripts(self, visitor: Visitor) -> None:
        cookie = visitor.get("/notes/").headers["Set-Cookie"]
        assert "SameSite=Strict" in cookie
        assert "HttpOnly" in cookie
        assert visitor.get("/notes/").headers["Set-Cookie"] is None

    def test_a_form_that_is_too_large(self, visitor: Visitor) -> None:
        assert visitor.post("/notes/", {"title": "x", "text": "y" * 20_000_000}).status == 413


class TestRemoteCalls:
    def test_figures_are_those_of_this_machine(self, visitor: Visitor) -> None:
        result = visitor.call("/status/rpc", "figures")["result"]
        assert 0 <= result["cpu_percent"] <= 100
        assert 0 < result["memory_used_bytes"] < result["memory_total_bytes"]
        assert result["uptime_seconds"] > 0

    def test_the_page_and_its_refresh_have_the_same_names(self, visitor: Visitor) -> None:
        page = visitor.get("/status/").text
        result = visitor.call("/status/rpc", "overview")["result"]
        assert set(re.findall(r'data-text="([^"]+)"', page)) <= set(result["texts"])
        assert set(re.findall(r'data-bar="([^"]+)"', page)) <= set(result["bars"])
        assert set(re.findall(r'data-chart="([^"]+)"', page)) == set(result["charts"])

    def test_a_wrong_order_is_an_error_with_python_s_name(self, visitor: Visitor) -> None:
        error = visitor.call("/status/rpc", "processes", "colour", 5)["error"]
        assert error["data"]["type"] == "ValueError"
        assert "colour" in error["message"]

    def test_rows_are_bounded(self, visitor: Visitor) -> None:
        rows = visitor.call("/status/rpc", "processes", "pid", 10**9)["result"]["rows"]["processes"]
        assert 1 <= len(rows) <= 200


class TestHosts:
    def test_the_wallboard_has_the_root_of_its_host(self, demo: Running) -> None:
        wall = demo.visitor(WALL)
        page = wall.get("/")
        assert page.status == 200
        assert 'href="/static/wall.css"' in page.text
        module = re.search(r'data-rpc="(/rpc/proxy\.[0-9a-f]+\.mjs)"', page.text)
        assert module is not None
        assert "immutable" in wall.get(module[1]).headers["Cache-Control"]
        assert wall.call("/rpc", "figures")["result"]["uptime_seconds"] > 0
        assert wall.get("/static/wall.css").status == 200

    def test_the_wallboard_s_host_shows_nothing_else(self, demo: Running) -> None:
        wall = demo.visitor(WALL)
        for path in ("/processes", "/privileges", "/notes/", "/status/", "/static/console.css"):
            assert wall.get(path).status == 404

    def test_a_link_to_a_back_end_of_another_host_is_a_whole_address(self, demo: Running) -> None:
        assert f'href="{demo.url("/notes/")}"' in demo.visitor(WALL).get("/").text

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "unknown.example"])
    def test_aliases_and_unknown_names_show_the_console(self, demo: Running, host: str) -> None:
        assert "<h1>Overview</h1>" in demo.visitor(host).get("/status/").text
