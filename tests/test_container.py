"""The Dockerfile, and the wheel that it installs: what is in them. `benchmarks/container.py` installs and runs it."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
LINES = [line for line in DOCKERFILE.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]


def _of(instruction):
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{instruction} ")]


def test_an_image_is_made_of_wheels_and_nothing_is_fetched():
    (installing,) = [line for line in _of("RUN") if "pip" in line]
    assert "--no-index --find-links /wheels" in installing
    assert not re.search(r"apt|curl|wget|git |https?:(?!//127\.0\.0\.1)", "\n".join(LINES))
    assert not _of("COPY")
    assert not _of("ADD")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert [line for line in ignored if not line.startswith("#")] == ["*", "!wheels"]


def test_the_server_in_an_image_is_no_root_and_asks_for_a_token():
    assert _of("USER") == ["nirank"]
    assert LINES.index("USER nirank") < LINES.index(next(line for line in LINES if line.startswith("ENTRYPOINT")))
    program, command, *options = json.loads(_of("ENTRYPOINT")[0])
    assert (program, command, options) == ("nirank", "serve", ["--host", "0.0.0.0"])
    pytest.importorskip("fastapi")
    from nirank.errors import BadInput
    from nirank.serving import running
    from nirank.serving.options import Options

    with pytest.raises(BadInput, match="NIRANK_TOKEN"):
        running.refuse_open_door(Options(host=options[1]))


def test_extras_of_the_image_exist_and_bring_the_server():
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    named = set(re.findall(r"nirank\[([\w,]+)\]", _of("RUN")[0])[0].split(","))
    assert named <= set(extras)
    assert "serve" in named


def test_the_wheel_holds_the_page(tmp_path):
    wheels = pytest.importorskip("hatchling.builders.wheel")
    (wheel,) = wheels.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    page = ROOT / "nirank" / "serving" / "page"
    shown = {path.relative_to(ROOT).as_posix() for path in page.rglob("*") if path.is_file()}
    with zipfile.ZipFile(wheel) as opened:
        held = set(opened.namelist())
    assert "nirank/serving/page/index.html" in shown
    assert {path for path in shown if "__pycache__" not in path} <= held
