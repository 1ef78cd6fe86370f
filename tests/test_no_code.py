"""Nothing that data, configs or models bring is run: no pickles, no code of models, no objects in YAML, no script of a
page but ours."""

from __future__ import annotations

import ast
import json
import re
import shutil
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import longsafety
from longsafety.configuration.compose import compose_jobs
from longsafety.configuration.settle import settle
from longsafety.errors import DataError
from longsafety.model.load import read_network
from longsafety.model.tiny import model_folder
from longsafety.scenarios.write_seeds.folder import review_page

PACKAGE = Path(longsafety.__file__).parent
FORBIDDEN = {
    "eval", "exec", "compile", "os.system", "os.popen", "pickle.load", "pickle.loads", "yaml.load", "yaml.unsafe_load",
    "yaml.full_load", "joblib.load", "numpy.load", "marshal.loads", "dill.load",
}  # fmt: skip


def calls(code: str) -> list[tuple[str, ast.Call]]:
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            found.append((ast.unparse(node.func), node))
    return found


def wrong(code: str) -> list[str]:
    """Calls that would run what they read, and those that let others."""
    lines = []
    for name, node in calls(code):
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if name in FORBIDDEN or given.get("shell") == "True" or given.get("trust_remote_code", "False") != "False":
            lines.append(ast.unparse(node))
        if name.endswith("Environment") and "Sandboxed" not in name and "loader" not in given:
            lines.append(ast.unparse(node))
    return lines


def test_no_call_runs_what_it_reads() -> None:
    found = {}
    for file in PACKAGE.rglob("*.py"):
        if lines := wrong(file.read_text("utf-8")):
            found[file.relative_to(PACKAGE).as_posix()] = lines
    assert found == {}
    planted = (
        "eval(x)",
        "yaml.load(f)",
        "run(x, shell=True)",
        "load(trust_remote_code=True)",
        "Environment().from_string(x)",
    )
    for code in planted:
        assert wrong(code), code


@pytest.fixture
def model(tmp_path: Path, tiny_cache: Path) -> Path:
    return Path(shutil.copytree(model_folder(tiny_cache, 256, 0), tmp_path / "model"))


def test_a_model_with_code_of_its_own_is_refused_and_none_of_it_runs(model: Path, tmp_path: Path) -> None:
    sign = tmp_path / "ran"
    (model / "modeling_own.py").write_text(f"open({str(sign)!r}, 'w').close()\nclass Own: pass\n")
    config = json.loads((model / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {"AutoConfig": "modeling_own.Own", "AutoModelForCausalLM": "modeling_own.Own"},
    }
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(DataError) as caught:
        read_network(model, "sdpa")
    assert "\n" not in str(caught.value) and not sign.exists()


def test_weights_in_pickles_are_not_read(model: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    with pytest.raises(DataError, match="safetensors"):
        read_network(model, "sdpa")


class Runs:
    """Runs code where it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.sign,)


@pytest.mark.parametrize("kind", ["a file", "DeepSpeed's folder"])
def test_a_checkpoint_brings_no_code(kind: str, tmp_path: Path) -> None:
    import torch

    from longsafety.model.checkpoints import described, newest

    if kind == "DeepSpeed's folder":
        pytest.importorskip("deepspeed")
    folder, sign = tmp_path / "checkpoints", tmp_path / "ran"
    path = folder / "step-00000001.ckpt"
    path = path if kind == "a file" else path / "checkpoint" / "mp_rank_00_model_states.pt"
    path.parent.mkdir(parents=True)
    [settings] = settle(compose_jobs(["scale=smoke"]))
    torch.save({"global_step": 1, "longsafety": described(settings)}, path)
    assert newest(folder, settings)
    torch.save({"global_step": 1, "longsafety": described(settings), "more": Runs(sign)}, path)
    with pytest.raises(DataError, match="cannot be read"):
        newest(folder, settings)
    assert not sign.exists()


def policy(page: str) -> dict[str, list[str]]:
    [content] = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    return {name: values for name, *values in (part.split() for part in content.split(";"))}


@pytest.mark.parametrize("template", ["reporting/report.html.j2", "reporting/gallery.html.j2"])
def test_pages_run_no_script_and_load_nothing(template: str) -> None:
    page = (PACKAGE / template).read_text("utf-8")
    rules = policy(page)
    assert rules["default-src"] == ["'none'"] and "script-src" not in rules and "<script" not in page
    assert rules["img-src"] == ["data:"] and rules["form-action"] == rules["base-uri"] == ["'none'"]
    assert page.index("Content-Security-Policy") < page.index("<style")
    assert not re.search(r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//""", page.replace('href="https://arxiv', ""))


def test_the_review_page_runs_its_own_script_alone() -> None:
    hostile = "</script><script>alert(1)</script>"
    row: dict[str, Any] = {"id": hostile, "content": "x", "texts": {"request": hostile}}
    page = review_page([row])
    [script] = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = b64encode(sha256(script.encode()).digest()).decode()
    assert policy(page)["script-src"] == [f"'sha256-{digest}'"] and policy(page)["default-src"] == ["'none'"]
    assert "alert(1)" in page and page.count("<script") == 2  # the data, and ours
