"""The page of the search server in a real browser: what one does with it, and that it does nothing else.

With the environment variable NIRANK_SCREENSHOTS its pictures in the documents are drawn again.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import nirank
from tests import coast
from tests.page_server import Tab, chromium, serving

pytest.importorskip("fastapi", reason="the extra `serve` is not installed")
pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")

QUERY = coast.QUERIES["1"]
SEARCH = f"/?q={QUERY.replace(' ', '+')}"
MINUS = "\N{MINUS SIGN}"
TOKEN = "a token for tests"
PICTURES = Path(__file__).parents[1] / "docs" / "images"


@pytest.fixture(scope="module")
def browser():
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def notes():
    """The state with the notes of a coast."""
    from nirank.serving.state import State

    made = coast.notes()
    return State("coast", made.corpus, coast.systems(), made.queries, made.judgments)


def _application(state, **options):
    from nirank.serving.app import application
    from nirank.serving.options import Options
    from nirank.serving.state import Holder

    return application(Holder(state), Options(**options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("judgments")


@pytest.fixture(scope="module")
def server(notes, folder):
    with serving(_application(notes, judgments=folder, annotate=True)) as address:
        yield address


@pytest.fixture(scope="module")
def gallery():
    """A server of pictures, which are found by their likeness."""
    from nirank.serving.state import State

    corpus = coast.flags()
    alike = nirank.load(coast.Likeness(corpus), "likeness") % 100
    with serving(_application(State("flags", corpus, {"likeness": alike}))) as address:
        yield address


@pytest.fixture(scope="module")
def contexts(browser):
    """A function for a browser's context with some options, made once: it shares what costs time, not what is kept."""
    made = {}

    def context(**options):
        options = {"viewport": {"width": 1280, "height": 860}, "color_scheme": "light", **options}
        key = repr(sorted(options.items()))
        if key not in made:
            made[key] = browser.new_context(**options)
        return made[key]

    return context


@pytest.fixture
def opened(contexts):
    """A function that opens a server's page in a tab of its own; in the end it looks at what went wrong in it."""
    tabs = []

    def tab(base, address="/", name=None, expected=(), **options):
        page = contexts(**options).new_page()
        if name:
            page.add_init_script(f"localStorage.setItem('nirank-annotator', {name!r})")
        tabs.append((Tab(page, base), expected))
        return tabs[-1][0].go(address)

    yield tab
    for each, expected in tabs:
        each.page.evaluate("localStorage.clear()")
        each.page.close()
        assert [error for error in each.errors if not any(part in error for part in expected)] == []
        assert each.elsewhere == []


def _ids(page, side):
    page.wait_for_selector(f".column.{side} .hit")
    return page.eval_on_selector_all(f".column.{side} .hit", "hits => hits.map(hit => hit.dataset.id)")


def _found(state, pipeline, query=QUERY, k=10):
    """The ids and scores that a pipeline finds, without a server."""
    found = (state.ranking(pipeline) % k).search(query, state.corpus)
    return state.corpus.ids.take(found.docs), found.scores.tolist()


def _number(text):
    return float(text.replace(MINUS, "-").replace("+", ""))


def _focused(page):
    return page.evaluate("[document.activeElement.dataset.system, document.activeElement.dataset.rank]")


def test_everything_is_done_by_keyboard(opened, server):
    page = opened(server)
    page.wait_for_selector("#query:focus")
    page.keyboard.type(QUERY)
    page.keyboard.press("Enter")
    page.wait_for_selector(".hit:focus")
    assert _focused(page) == ["bm25", "1"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert _focused(page) == ["bm25", "3"]
    assert page.eval_on_selector(".hit:focus", "hit => getComputedStyle(hit).outlineStyle") == "solid"
    page.keyboard.press("ArrowRight")
    assert _focused(page)[0] == "mixed"
    assert page.eval_on_selector(".hit:focus", "hit => hit.dataset.id") == _ids(page, "a")[2]
    page.keyboard.press("e")
    page.wait_for_selector(".drawer .sum")
    page.keyboard.press("Escape")
    page.wait_for_selector(".drawer", state="detached")
    assert page.eval_on_selector(".hit:focus", "hit => hit.dataset.id") == _ids(page, "a")[2]
    page.keyboard.press("Enter")
    page.wait_for_selector(".drawer .whole .text")
    page.go_back()
    page.wait_for_selector(".drawer", state="detached")
    assert page.eval_on_selector(".hit:focus", "hit => hit.dataset.id") == _ids(page, "a")[2]
    page.keyboard.press("?")
    assert page.inner_text("dialog h2") == "Keys"
    page.keyboard.press("Escape")
    page.keyboard.press("x")
    page.wait_for_url("**a=mixed&b=bm25**")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "query"


def test_two_systems_stand_side_by_side_with_the_movement_of_each_rank(opened, server, notes):
    page = opened(server, SEARCH)
    first, second = ([*_found(notes, name, k=100)[0]] for name in ("bm25", "mixed"))
    assert _ids(page, "a") == first[:10]
    assert _ids(page, "b") == second[:10]
    said = page.eval_on_selector_all(".column.b .move", "moves => moves.map(move => move.textContent)")
    for rank, (document, text) in enumerate(zip(second[:10], said, strict=True)):
        up = first.index(document) - rank if document in first else None
        assert text == ("new" if up is None else "=" if up == 0 else f"▲ {up}" if up > 0 else f"▼ {-up}")
    there = page.eval_on_selector_all(".column.a .move", "moves => moves.map(move => move.textContent)")
    assert there == [f"B {second.index(document) + 1}" if document in second else "only A" for document in first[:10]]
    assert page.locator(".flow path").count() == len({*first[:10]} & {*second[:10]})


def test_the_bar_shows_where_the_milliseconds_went(opened, server):
    page = opened(server, SEARCH)
    page.wait_for_selector(".timing")
    widths = page.eval_on_selector_all(
        ".column.b .stages i", "parts => parts.map(part => part.getBoundingClientRect().width)"
    )
    assert len(widths) >= 3
    assert min(widths) >= 1
    page.click(".column.b .timing summary")
    names = page.eval_on_selector_all(".column.b .legend li", "rows => rows.map(row => row.textContent)")
    assert [name.rsplit(" ", 2)[0] for name in names[:3]] == ["generate bm25", "generate titles", "score bm25"]
    first, same = (
        page.eval_on_selector(f".column.{side} .stages i", "part => getComputedStyle(part).backgroundColor")
        for side in "ab"
    )
    assert first == same  # one stage has one colour


def test_the_parts_of_an_explanation_add_up(opened, server, notes):
    page = opened(server, f"{SEARCH}&why=limpet-home&system=mixed")
    assert len(_added_up(page, notes, "mixed")) == 3
    page.click(".drawer .tab.a")
    page.wait_for_function("() => document.querySelector('.drawer').dataset.system === 'bm25'")
    assert _added_up(page, notes, "bm25") == []


def _added_up(page, state, system):
    """Add up what the drawer shows, at each level; the parts that have parts."""
    page.wait_for_selector(".drawer .sum")
    total = _number(page.inner_text(".sum [data-total]"))
    expected = dict(zip(*_found(state, system), strict=True))["limpet-home"]
    assert total == pytest.approx(expected, abs=6e-5)
    shown = page.eval_on_selector_all(
        ".sum > .parts > .part", "parts => parts.map(part => part.querySelector('.row .number').textContent)"
    )
    assert sum(map(_number, shown)) == pytest.approx(total, abs=6e-5 * (1 + len(shown)))
    assert _number(page.inner_text(".adds.right .number")) == total
    inner = page.eval_on_selector_all(
        ".parts .part:has(.part)",
        "parts => parts.map(part => [part, ...part.querySelectorAll(':scope > details > ul > li')]"
        ".map(each => each.querySelector('.row .number').textContent))",
    )
    for whole, *parts in inner:
        assert sum(map(_number, parts)) == pytest.approx(_number(whole), abs=6e-5 * (1 + len(parts)))
    return inner


def test_the_words_that_a_score_is_of_are_marked_with_their_sign(opened, server, notes):
    page = opened(server, f"{SEARCH}&why=limpet-home&system=mixed")
    page.wait_for_selector(".drawer .marked.document mark")
    text = coast.NOTES["limpet-home"][3]
    marks = page.eval_on_selector_all(
        ".marked.document mark",
        "marks => marks.map(({dataset: {start, end}, textContent, className}) => "
        "[Number(start), Number(end), textContent, className])",
    )
    assert {word for *_, word, _ in marks} >= {"limpet", "tide", "home"}
    assert all(text[start:end] == word and kind == "raises" for start, end, word, kind in marks)
    assert page.inner_text(".marked.document p") == text


def test_a_matrix_is_a_heat_map_and_patches_lie_on_the_picture(opened, gallery):
    rows, columns = ["grün 🟢", "sail"], [f"column {number}" for number in range(50)]
    values = [[0.5 * (-1) ** number for number in range(50)], [0.25] * 50]
    patches = [
        {"label": f"patch, row {row}, column {column}", "score": 0.1 * row - 0.2}
        for row in (1, 2, 3)
        for column in (1, 2, 3)
    ]
    made = {"label": "m", "score": 0.0, "matches": {"rows": rows, "columns": columns, "values": values}}
    page = opened(gallery)
    page.route(
        "**/explain",
        lambda route: route.fulfill(
            json={"query": "q", "document": "sail/red.png", "score": 0, "explanation": made, "text": None}
        ),
    )
    page.route("**/search", lambda route: route.continue_(post_data='{"document": "sail/red.png"}'))
    page.goto(f"{gallery}/?q=sail&why=sail/red.png&system=likeness")
    page.wait_for_selector(".heat")
    assert page.locator(".heat td[data-told]").count() == 2 * 40
    page.click("text=all 50 columns")
    assert page.locator(".heat td.lowers").count() == 25
    page.hover(".heat tbody tr:first-child td:nth-of-type(2)")
    assert page.inner_text(".told") == f"grün 🟢 \N{MULTIPLICATION SIGN} column 1: {MINUS}0.5000"
    made |= {"parts": patches, "score": sum(each["score"] for each in patches)}
    page.reload()
    page.wait_for_selector(".patches")
    assert page.locator(".patches .lowers").count() == 3


def test_a_picture_is_searched_with_when_it_is_chosen_dropped_or_pasted(opened, gallery, tmp_path):
    stream = io.BytesIO()
    coast.flag("sail", "red").save(stream, "PNG")
    page = opened(gallery)
    page.set_input_files("#file", {"name": "mine.png", "mimeType": "image/png", "buffer": stream.getvalue()})
    expected = _nearest(coast.flag("sail", "red"))
    assert _ids(page, "a") == expected[:10]
    page.reload()
    assert _ids(page, "a") == expected[:10]
    for event in ("drop", "paste"):
        other = coast.flag("disc", "blue") if event == "drop" else coast.flag("stripe", "green")
        _give(page, event, other)
        page.wait_for_function("id => document.querySelector('.hit')?.dataset.id === id", arg=_nearest(other)[0])
    page.go_back()
    page.wait_for_function("() => document.querySelector('.hit')?.dataset.id === 'disc/blue.png'")
    assert page.eval_on_selector(".hit .picture", "image => image.decode().then(() => image.naturalWidth)") == 96
    page.click(".hit >> text=more like this")
    page.wait_for_url("**like=**")
    page.set_input_files("#file", {"name": "words.txt", "mimeType": "text/plain", "buffer": b"words"})
    assert "words.txt" in page.inner_text(".notice")
    stranger = opened(gallery, "/?image=12345678")
    assert "does not take a picture along" in stranger.inner_text(".empty")


def _nearest(picture):
    """The ids of the flags by their distance from a picture."""
    corpus = coast.flags()
    small = [np.asarray(each.resize((8, 8)), float) for each in [picture, *corpus[:]]]
    apart = [np.abs(each - small[0]).mean() for each in small[1:]]
    return [corpus.ids[place] for place in np.argsort(apart, kind="stable").tolist()]


def _give(page, event, picture):
    """Drop or paste a picture."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    page.evaluate(
        """([event, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "given.png", {type: "image/png"}));
            const kind = {bubbles: true, cancelable: true};
            const given = event === "drop" ? new DragEvent("drop", {dataTransfer: data, ...kind})
                : new ClipboardEvent("paste", {clipboardData: data, ...kind});
            document.body.dispatchEvent(given);
        }""",
        [event, list(stream.getvalue())],
    )


def _grades(page, document):
    return page.eval_on_selector_all(
        f'.column.a .hit[data-id="{document}"] .grade[aria-pressed=true]',
        "buttons => buttons.map(button => button.textContent)",
    )


def test_relevance_is_marked_by_keys_and_exported(opened, server):
    page = opened(server, SEARCH)
    page.wait_for_selector(".hit:focus")
    page.keyboard.press("3")
    page.fill("dialog input", "Ada Lövgren")
    page.keyboard.press("Enter")
    page.wait_for_selector(".toast")
    assert _grades(page, "limpet-home") == ["3"]
    page.locator(".column.a .hit").nth(1).focus()
    page.keyboard.press("1")
    page.wait_for_function("() => document.querySelectorAll('.column.b .grade[aria-pressed=true]').length === 2")
    page.keyboard.press("Delete")
    page.wait_for_function("() => document.querySelectorAll('.column.b .grade[aria-pressed=true]').length === 1")
    page.reload()
    page.wait_for_function("() => document.querySelectorAll('.column.a .grade[aria-pressed=true]').length === 1")
    other = opened(server, SEARCH, name="Bo")
    other.wait_for_selector(".column.a .others")
    assert "Ada Lövgren: 3" in other.get_attribute(".column.a .others", "title")
    other.click('.column.a .hit[data-id="tide-pools"] .grade[data-grade="1"]')
    other.wait_for_selector('.column.a .hit[data-id="tide-pools"] [aria-pressed=true]')
    other.click(".export summary")
    with other.expect_download() as caught:
        other.click("text=qrels of everybody")
    assert sorted(Path(caught.value.path()).read_text().split("\n")) == ["", "1 0 limpet-home 3", "1 0 tide-pools 1"]


def test_a_mark_that_was_not_saved_is_not_shown(opened, server):
    page = opened(server, "/?q=kelp", name="Ada", expected=["503", "507"])
    full = {"status": 507, "json": {"detail": "The disk is full. Nothing is lost: send it again."}}
    page.route(
        "**/judgments", lambda route: route.fulfill(**full) if route.request.method == "POST" else route.continue_()
    )
    page.wait_for_selector(".hit:focus")
    first = _ids(page, "a")[0]
    page.keyboard.press("2")
    page.wait_for_selector(".notice")
    assert "The disk is full." in page.inner_text(".notice")
    assert _grades(page, first) == []
    page.unroute("**/judgments")
    page.click(".notice button:has-text('Try again')")
    page.wait_for_selector(f'.column.a .hit[data-id="{first}"] [aria-pressed=true]')


def test_a_pool_is_judged_one_document_at_a_time_without_the_systems(opened, server, notes):
    query = coast.QUERIES["4"]
    page = opened(server, "/?view=judge&depth=5&query=4", name="Cleo")
    pool = {document for name in notes.pipelines for document in _found(notes, name, query, 5)[0]}
    seen = []
    while True:
        page.wait_for_selector(".sheet h2, .empty h2")
        text = page.inner_text(".pool")
        assert not any(word in text for word in ("bm25", "mixed", "rank"))
        if page.locator(".sheet").count() == 0:
            break
        seen.append(page.get_attribute(".sheet", "data-id"))
        page.keyboard.press(str(len(seen) % 4))
        page.wait_for_function("id => document.querySelector('.sheet')?.dataset.id !== id", arg=seen[-1])
    assert sorted(seen) == sorted(pool)
    assert "All judged" in page.inner_text(".pool")
    assert page.inner_text(".progress .number") == f"{len(pool)} of {len(pool)}"
    page.keyboard.press("z")
    page.wait_for_selector(".sheet h2")
    assert page.get_attribute(".sheet", "data-id") == seen[-1]
    saved = page.evaluate("query => fetch(`judgments?query=${query}`).then(answer => answer.json())", query)
    assert {row["document"]: row["grade"] for row in saved} == {name: (at + 1) % 4 for at, name in enumerate(seen)}


def test_the_queries_lead_from_the_largest_difference_to_its_results(opened, server, notes):
    page = opened(server, "/?view=queries")
    page.wait_for_selector(".list tbody tr")
    made = coast.notes()
    values = {}
    for name in ("bm25", "mixed"):
        found = notes.ranking(name).search(made.queries, made.corpus)
        values[name] = nirank.evaluate(found, made.judgments, ["nDCG@10"]).values["nDCG@10"]
    gaps = np.abs(values["bm25"] - values["mixed"])
    shown = page.eval_on_selector_all(
        ".list tbody tr", "rows => rows.map(row => Math.abs(Number(row.dataset.difference)))"
    )
    assert shown == pytest.approx(sorted(gaps.tolist(), reverse=True))
    assert page.inner_text(".figure.a .number") == f"{values['bm25'].mean():.4f}".lstrip("0")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector(".neighbours")
    assert page.input_value("#query") == made.queries.contents[int(gaps.argmax())]
    page.wait_for_selector(".hit:focus")
    page.keyboard.press("]")
    page.wait_for_function(
        "text => document.querySelector('.neighbours')?.textContent.includes(text)", arg="query 2 of 14"
    )
    page.go_back()
    page.go_back()
    page.wait_for_selector(".list tbody tr")


def test_conditions_narrow_the_documents_and_mistakes_are_told(opened, server):
    page = opened(server, "/?q=sand&k=3", expected=["422"])
    page.click(".column.a .fields dd a >> nth=0")
    page.wait_for_url("**where=habitat**")
    page.wait_for_function("() => document.querySelector('#where').value === \"habitat == 'sand'\"")
    page.wait_for_selector(".column.a .hit")
    assert {*page.locator(".column.a .fields div:first-child dd").all_inner_texts()} == {"sand"}
    first = _ids(page, "a")
    page.keyboard.press("n")
    page.wait_for_url("**offset=3**")
    page.wait_for_function("() => document.querySelector('.hit')?.dataset.rank === '4'")
    assert not {*_ids(page, "a")} & {*first}
    page.go_back()
    page.wait_for_function("() => document.querySelector('.hit')?.dataset.rank === '1'")
    page.fill("#where", "yaer > 2015")
    page.press("#where", "Enter")
    page.wait_for_selector(".trouble")
    assert "yaer" in page.inner_text(".trouble")
    assert page.get_attribute("#where", "aria-invalid") == "true"
    page.click("text=Search all documents")
    page.wait_for_selector(".hit")


def test_what_is_not_found_is_said(opened, server):
    page = opened(server, "/?q=zzzz")
    page.wait_for_selector(".empty")
    assert page.locator(".empty h2").all_inner_texts() == ["Nothing found", "Nothing found"]


def test_the_colours_follow_the_system_until_they_are_chosen(opened, server):
    page = opened(server, SEARCH, reduced_motion="reduce")
    page.wait_for_selector(".hit")
    assert not _is_dark(page)
    page.emulate_media(color_scheme="dark")
    assert _is_dark(page)
    page.click("#theme")  # light
    assert not _is_dark(page)
    page.click("#theme")  # dark
    page.emulate_media(color_scheme="light")
    page.reload()
    page.wait_for_selector(".hit")
    assert _is_dark(page)
    assert page.eval_on_selector(".hit", "hit => getComputedStyle(hit).transitionDuration") == "0s"


def _is_dark(page):
    """True where letters are lighter than their ground."""
    letters, ground = (
        sum(page.evaluate(f"getComputedStyle(document.body).{name}.match(/[0-9.]+/g).slice(0, 3).map(Number)"))
        for name in ("color", "backgroundColor")
    )
    return letters > ground


def test_nothing_is_wider_than_a_phone_and_one_list_is_shown_at_a_time(opened, server):
    page = opened(server, name="Dag", viewport={"width": 360, "height": 740}, has_touch=True)
    _fits(page, ".start .samples a")
    page.goto(server + SEARCH)
    _fits(page, ".hit")
    assert [page.is_visible(f".column.{side}") for side in "ab"] == [True, False]
    page.click(".tabs .tab.b")
    assert [page.is_visible(f".column.{side}") for side in "ab"] == [False, True]
    page.click(".export summary")
    _fits(page, ".menu button")
    page.click(".column.b .why >> nth=0")
    _fits(page, ".drawer .sum")
    page.goto(f"{server}/?view=queries")
    _fits(page, ".list tbody tr")
    page.goto(f"{server}/?view=judge&query=2")
    _fits(page, ".sheet h2")


def _fits(page, awaited):
    """Nothing is beyond the right edge, once something is there."""
    page.wait_for_selector(awaited)
    page.wait_for_function("() => document.getAnimations().every(each => each.playState !== 'running')")
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    outside = "(all, width) => all.filter(each => each.checkVisibility() && each.getBoundingClientRect().right > width)"
    things = "button, input, select, a, .hit, .drawer > *"
    assert page.eval_on_selector_all(things, f"{outside}.map(each => each.outerHTML)", width + 1) == []


def test_markup_is_shown_as_text_and_no_script_runs(opened, server):
    title, _, _, text = coast.NOTES["markup"]
    page = opened(server, "/?q=<img src=x onerror='window.__ran=9'> sign in the sand", name="<b>Eve</b>")
    hit = page.locator(".column.a .hit").filter(has=page.locator("h3", has_text="A sign in the sand"))
    hit.wait_for()
    assert hit.locator("h3").inner_text() == title
    assert hit.locator(".id").inner_text() == coast.HOSTILE
    assert hit.locator(".snippet").inner_text().strip(" …") in text
    hit.focus()
    page.keyboard.press("e")
    page.wait_for_selector(".drawer .sum")
    page.keyboard.press("3")
    page.wait_for_selector(".drawer .toast")
    page.click(".toast button")
    page.wait_for_function("() => !document.querySelector('.drawer [aria-pressed=true][data-grade]')")
    assert page.inner_text(".drawer h2") == title
    assert page.inner_text(".drawer .text") == text
    assert page.inner_text(".drawer .fields dd >> nth=0") == coast.HOSTILE
    page.reload()
    page.wait_for_selector(".drawer .sum")
    assert page.evaluate("[window.__ran, document.querySelectorAll('main img, main b b, dialog img').length]") == [
        None,
        0,
    ]


def test_a_busy_server_is_asked_again(opened, server):
    page = opened(server, expected=["503"])
    tries = []

    def busy(route):
        tries.append(1)
        headers = {"Retry-After": "30" if len(tries) == 1 else "1"}
        answer = {"status": 503, "headers": headers, "json": {"detail": "256 searches are waiting."}}
        route.fulfill(**answer) if len(tries) < 3 else route.continue_()

    page.route("**/search", busy)
    page.goto(f"{server}/?q=kelp")
    page.wait_for_selector(".notice.busy")
    assert "256 searches are waiting. Next try in" in page.inner_text(".notice.busy")
    page.click("text=Try now")
    page.wait_for_selector(".hit")
    assert len(tries) == 3
    assert page.locator(".notice").count() == 0


def test_a_server_that_is_gone_is_told_and_asked_again(opened, server):
    page = opened(server, "/?q=kelp", expected=["ERR_FAILED"])
    page.wait_for_selector(".hit")
    page.route("**/search", lambda route: route.abort())
    page.fill("#query", "dunes")
    page.press("#query", "Enter")
    page.wait_for_selector(".trouble")
    assert "does not answer" in page.inner_text(".trouble")
    page.unroute("**/search")
    page.click("button:has-text('Try again')")
    page.wait_for_selector(".hit")


def test_the_token_is_asked_for_once(opened, notes, folder):
    with serving(_application(notes, judgments=folder, annotate=True, token=TOKEN)) as locked:
        page = opened(locked, SEARCH, expected=["401"])
        page.fill("dialog input[type=password]", "another")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=The token was not right")
        page.fill("dialog input[type=password]", TOKEN)
        page.keyboard.press("Enter")
        page.wait_for_selector(".hit")
        page.reload()
        page.wait_for_selector(".hit")


@pytest.mark.skipif("NIRANK_SCREENSHOTS" not in os.environ, reason="NIRANK_SCREENSHOTS is not set")
def test_the_pictures_of_the_documents_are_drawn(opened, server, gallery):
    PICTURES.mkdir(exist_ok=True)
    for name, page in _states(opened, server, gallery):
        page.wait_for_timeout(400)
        place = PICTURES / f"search-page-{name}.png"
        with Image.open(io.BytesIO(page.screenshot())) as picture:
            _with_few_colours(picture.convert("RGB")).save(place, optimize=True)
        assert place.stat().st_size < 150_000


def _with_few_colours(picture):
    """The picture in 256 colours: the 128 most frequent ones as they are, and of the rest one of each kind."""
    counted = sorted(picture.getcolors(picture.width * picture.height), reverse=True)
    kinds = {tuple(part >> 4 for part in colour): colour for _, colour in reversed(counted[128:])}
    chosen = [colour for _, colour in counted[:128]] + list(reversed(kinds.values()))
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for colour in chosen[:256] for part in colour])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def _states(opened, server, gallery):
    """The five states that the documents show, each with its name."""
    page = opened(server, "/?q=what+grows+under+water+in+the+open+sea&query=6", name="Maria Lund")
    page.wait_for_selector(".neighbours a")
    page.hover(".column.b .hit >> nth=2")
    yield "two-systems", page
    page = opened(server, f"{SEARCH}&why=limpet-home&system=mixed", color_scheme="dark", name="Maria Lund")
    page.wait_for_selector(".drawer .sum")
    yield "why", page
    page = opened(gallery, "/?like=sail%2Fgreen.png")
    page.wait_for_selector(".hit")
    page.wait_for_load_state("networkidle")
    yield "pictures", page
    page = opened(server, "/?view=queries")
    page.wait_for_selector(".list tbody tr")
    yield "queries", page
    page = opened(
        server, "/?view=judge&query=6", name="Maria Lund", viewport={"width": 390, "height": 780}, device_scale_factor=2
    )
    page.wait_for_selector(".sheet h2")
    page.keyboard.press("2")
    page.wait_for_function("() => document.querySelector('.progress .number').textContent.startsWith('1 ')")
    page.wait_for_selector(".sheet h2")
    yield "judging", page
