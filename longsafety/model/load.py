"""From ``settings.Model`` to a tokenizer and a network, and to the string that fixes both for content addressing."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from longsafety import settings
from longsafety.errors import ConfigError, DataError
from longsafety.model import smollm2, tiny
from longsafety.model.kernels import check_flash, loaded_attention

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
CONTENT = ("*.json", "*.jinja", "*.txt", "*.model")
TINY_WINDOW = 2048
"""What ``tiny`` counts as pretrained with where its positions are scaled."""


def identity(model: settings.Model, cache: Path) -> str:
    """Fixes tokenizer and weights (for ``tiny``: together with the seed). Imports neither torch nor transformers.

    The one exception: the first time that ``smollm2`` is asked for, it is fetched and converted, for what can be
    had decides which weights they are. A folder is fixed by its content, wherever it lies. Raises DataError.
    """
    _check_revision(model)
    if model.source == "smollm2":
        return smollm2.identity(cache)
    if model.source == "tiny":
        return tiny.identity(model.window)
    folder = _local_folder(model.source)
    if folder is None:
        return f"{model.source}@{_commit(model)}"
    _check_complete(folder)
    return f"folder:{_digest(folder)}"


def load_tokenizer(model: settings.Model, cache: Path) -> PreTrainedTokenizerBase:
    """The model's fast tokenizer, with a chat template and a pad token (the end token where it has none)."""
    folder = tiny.tokenizer_folder(cache) if model.source == "tiny" else _folder(model, cache, weights=False)
    from transformers import AutoTokenizer

    _check_architecture(folder)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # a damaged tokenizer file raises nearly anything
        raise DataError(f"{folder}: its tokenizer cannot be read ({_first_line(error)}); restore its files") from error
    if not tokenizer.chat_template:
        raise DataError(
            f"{folder}: model path without a chat template; chats are rendered with the model's own template: "
            f"give an instruction-tuned model that has one, or add a chat_template.jinja to the folder"
        )
    if not tokenizer.is_fast:
        raise DataError(f"{folder}: its tokenizer is not a fast one; add the tokenizer.json that a fast one needs")
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise DataError(f"{folder}: its tokenizer has no end token; name an eos_token in tokenizer_config.json")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def template_hash(tokenizer: Any) -> str:
    """Twelve hex digits of the chat template (of all, where a tokenizer has several by name)."""
    template = tokenizer.chat_template
    text = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_model(model: settings.Model, cache: Path, *, seed: int, rope: settings.Rope | None = None) -> PreTrainedModel:
    """The network in float32, on the CPU, in evaluation mode and without LoRA. ``seed`` makes the weights of ``tiny``.

    ``rope`` scales its positions to ``model.window``, the window after scaling (:mod:`longsafety.model.rope`).
    Raises DataError for a model that cannot be had or read, ConfigError for an attention that is not installed and for
    a scaling that the model cannot have.
    """
    check_flash(model.attention)
    rope = rope or settings.Rope()
    folder = base_folder(model, cache, seed=seed, rope=rope)
    return read_network(folder, loaded_attention(model.attention), rope, model.window)


def base_folder(model: settings.Model, cache: Path, *, seed: int, rope: settings.Rope) -> Path:
    """The folder that :func:`load_model` reads, made where it is missing.

    With a process group transformers would write it in the first rank only: make it before.
    """
    if model.source == "tiny":
        return tiny.model_folder(cache, model.window if rope.kind == "none" else TINY_WINDOW, seed)
    return _folder(model, cache, weights=True)


def read_network(
    folder: Path, attention: str, rope: settings.Rope | None = None, window: int | None = None
) -> PreTrainedModel:
    """The network in a local folder, in float32, on the CPU and in evaluation mode.

    ``rope`` scales its positions to ``window`` tokens; a folder that was written with a scaling has it in its
    config.json and needs none here. Raises as :func:`load_model`.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM

    from longsafety.model.rope import apply, settle_frequencies

    _check_architecture(folder)
    common: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    try:
        config = AutoConfig.from_pretrained(folder, **common)
        if rope is not None and window is not None:
            apply(config, rope, window)
        loader: Any = AutoModelForCausalLM
        network, report = loader.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            attn_implementation=attention,
            output_loading_info=True,
            **common,
        )
    except (OSError, ValueError, KeyError, ImportError, SafetensorError) as error:
        raise DataError(f"{folder}: its model cannot be read ({_first_line(error)}); restore its files") from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise DataError(
            f"{folder}: its files lack {len(missing)} of the model's weights ({missing[0]}, …), which would be random; "
            f"give a complete causal language model"
        )
    result: PreTrainedModel = network.eval()
    settle_frequencies(result)
    return result


def add_lora(network: PreTrainedModel, lora: settings.Lora, seed: int) -> PeftModel:
    """``network`` with low-rank adapters (their A random from ``seed``, their B zero), the only trainable weights.

    Targets are peft's: ``all-linear``, a regular expression that matches whole names, or a list of last names.
    Raises ConfigError for a target that matches no linear layer.
    """
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model

    base: Any = network
    output = base.get_output_embeddings()
    linear = [name for name, m in base.named_modules() if isinstance(m, torch.nn.Linear) and m is not output]
    problem = _target_problem(lora.targets, linear)
    if problem:
        raise ConfigError([problem])
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapted = get_peft_model(network, config)
    assert isinstance(adapted, PeftModel)
    return adapted


def _target_problem(targets: str | list[str], linear: list[str]) -> str | None:
    """Says what is wrong with LoRA targets; peft itself passes over a name in a list that matches nothing."""
    if targets == "all-linear":
        return None
    if isinstance(targets, str):
        try:
            unmatched = [] if any(re.fullmatch(targets, name) for name in linear) else [targets]
        except re.error as error:
            return f"model.lora.targets = {targets!r}: not a regular expression ({error}); mend it, or use all-linear"
    else:
        unmatched = [t for t in targets if not any(name == t or name.endswith(f".{t}") for name in linear)]
    if targets and not unmatched:
        return None
    names = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
    return (
        f"model.lora.targets = {targets!r}: {unmatched} match no linear layer of this model; "
        f"use all-linear, or a list of some of: {names}"
    )


def _check_revision(model: settings.Model) -> None:
    local = model.source in ("smollm2", "tiny") or _local_folder(model.source) is not None
    if model.revision is not None and local:
        raise ConfigError(
            [
                f"model.revision = {model.revision!r}: only a hub name has revisions, and model.source is "
                f"{model.source!r}; set model.revision=null, or model.source to a hub name"
            ]
        )


def _local_folder(source: str) -> Path | None:
    """The folder that ``source`` names, or ``None`` for a hub name (``owner/name``)."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.exists() or source.startswith((".", "/", "~")) or source.count("/") > 1 or "\\" in source:
        raise DataError(f"model.source = {source!r}: no such folder; give a folder with a model, or a hub name")
    return None


def _commit(model: settings.Model) -> str:
    try:
        if found := smollm2.cached_commit(model.source, model.revision):
            return found
        return smollm2.probe_commit(model.source, model.revision)
    except (DataError, ValueError) as error:
        raise _not_had(model, error) from error


def _not_had(model: settings.Model, error: Exception) -> DataError:
    return DataError(
        f"model.source = {model.source!r}: neither smollm2, tiny, a folder, nor to be had from the hub "
        f"({_first_line(error)}); mend the name, connect or log in (`hf auth login`), or give a downloaded folder"
    )


def _folder(model: settings.Model, cache: Path, *, weights: bool) -> Path:
    """The local folder with the files of ``model``, downloaded if need be; without the weights if they can wait."""
    _check_revision(model)
    if model.source == "smollm2":
        return smollm2.resolve(cache)
    folder = _local_folder(model.source)
    if folder is None:
        folder = _download(model, weights=weights)
    _check_complete(folder, weights=weights)
    return folder


def _download(model: settings.Model, *, weights: bool) -> Path:
    """The snapshot in the Hugging Face cache; the network is asked only for what is missing there."""
    from huggingface_hub import snapshot_download, try_to_load_from_cache

    commit = _commit(model)
    cached = try_to_load_from_cache(model.source, "config.json", revision=commit)
    if isinstance(cached, str) and not _missing(Path(cached).parent, weights=weights):
        return Path(cached).parent
    patterns = [*CONTENT, "*.safetensors"] if weights else list(CONTENT)
    try:
        smollm2.probe_commit(model.source, commit)  # fails within seconds, where a download would try for minutes
        folder = snapshot_download(
            model.source,
            revision=commit,
            allow_patterns=patterns,
            ignore_patterns=["*/*", "consolidated*"],  # other formats of the same weights
        )
        return Path(folder)
    except Exception as error:  # the client's error types are those of whichever HTTP library it uses
        raise _not_had(model, error) from error


def _missing(folder: Path, *, weights: bool) -> list[str]:
    def has(*names: str) -> bool:
        return all((folder / name).is_file() for name in names)

    missing = [] if has("config.json") else ["config.json"]
    if not (has("tokenizer.json") or has("tokenizer.model") or has("vocab.json", "merges.txt")):
        missing.append("a tokenizer (tokenizer.json)")
    if weights:
        shards = {
            shard for index in folder.glob("*.index.json") for shard in _read_json(index).get("weight_map", {}).values()
        }
        missing += sorted(shard for shard in shards if not has(shard))
        if not any(any(folder.glob(pattern)) for pattern in WEIGHTS):
            missing.append("weights (model.safetensors)")
    return missing


def _check_complete(folder: Path, *, weights: bool = True) -> None:
    missing = _missing(folder, weights=weights)
    if missing:
        raise DataError(
            f"{folder}: not a complete model, it lacks {', '.join(missing)}; "
            f"give a folder that save_pretrained wrote for model and tokenizer"
        )


def _check_architecture(folder: Path) -> None:
    """Refuses a model whose architecture transformers lacks: code that a model brings along is never executed."""
    import transformers

    path = folder / "config.json"
    if not path.is_file():  # tiny's tokenizer
        return
    kind = _read_json(path).get("model_type")
    if kind not in transformers.CONFIG_MAPPING:
        raise DataError(
            f"{path}: transformers {transformers.__version__} has no architecture {kind!r}, and code that a model "
            f"brings along is not executed; give a model that transformers knows, or convert it to such a one"
        )


def _digest(folder: Path) -> str:
    """Over the content of configuration, tokenizer and template, and size and time of change of the weights."""
    entries: list[tuple[str, str | int, str | int]] = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and any(path.match(pattern) for pattern in WEIGHTS):
            entries.append((path.name, path.stat().st_size, path.stat().st_mtime_ns))
        elif path.is_file() and any(path.match(pattern) for pattern in CONTENT):
            entries.append((path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()))
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path}:{getattr(error, 'lineno', 1)}: not JSON ({error}); restore the file") from error
    if not isinstance(value, dict):
        raise DataError(f"{path}:1: not a JSON object; restore the file")
    return value


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
