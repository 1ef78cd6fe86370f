"""Writes a trained model as a folder that transformers loads by itself, with its card, whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, PackageLoader, StrictUndefined
from safetensors import SafetensorError

from longsafety.environment import environment
from longsafety.errors import DataError, first_line
from longsafety.files import whole_folder
from longsafety.formats.export import folder_problem
from longsafety.model.load import load_model, read_network
from longsafety.model.smollm2 import REPOSITORY
from longsafety.model.source import identity
from longsafety.model.tiny import BASE_SEED
from longsafety.model.tokenizer import load_tokenizer
from longsafety.samples.template import undated
from longsafety.settings import Model, Settings

ADAPTER, CARD = "adapter", "README.md"
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TOLERANCE = 1e-4
"""Largest difference of logits, in float32; where the largest logit is above 1, as a share of it."""
PROMPT = "Please explain in a few words why the sky looks blue, and what colour it has at night."
_HUB_LICENCES = (
    "apache-2.0", "mit", "llama3", "llama3.1", "llama3.2", "llama3.3", "gemma", "openrail", "bigscience-openrail-m",
    "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc0-1.0",
)  # fmt: skip
_TAGS = ["longsafety", "safety", "long-context", "refusal", "text-generation"]
_MIX_COLUMNS = ("source", "samples", "tokens", "supervised_tokens", "share", "licence", "fingerprint")


def export_weights(settings: Settings, weights: Path, folder: Path, *, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the model that training left in ``weights`` (``save_pretrained``'s files) into the new ``folder``.

    safetensors (adapters merged) in the dtype of training, float32 with adapters; tokenizer, chat
    template, generation config, ``README.md``; with LoRA the unmerged adapters in ``adapter/`` too. Everything is
    loaded again before it takes its place, and its logits compared with those of the trained model (unmerged).

    ``facts``: ``mix`` (rows as in ``RunRecord.mix``), ``training`` (its summary), and perhaps ``scores`` (rows of one
    table) and ``base_licence``. Local paths among them and in the settings are written as their last part.

    Returns ``dtype``, ``parameters``, ``bytes``, ``max_difference`` and ``tolerance``; ``adapter_max_difference``
    besides with LoRA. Raises DataError for a folder that is not empty (before anything is loaded), for weights that are
    missing or cannot be read, and for other logits; ``folder`` is as it was then.
    """
    folder = folder.expanduser().resolve()
    if problem := folder_problem(folder, "weights"):
        raise DataError(problem)
    _check_there(weights, settings.model)
    trained, tokenizer = _trained(settings, weights), _tokenizer(settings)
    expected = _logits(trained, tokenizer, settings)
    done: dict[str, Any] = {"tolerance": TOLERANCE * max(1.0, float(expected.abs().max()))}
    with whole_folder(folder) as partial:
        network: Any = trained.merge_and_unload() if settings.model.tune == "lora" else trained
        network.to(_stored_type(settings.model, weights))
        done["dtype"] = str(network.dtype).removeprefix("torch.")
        done["parameters"] = network.num_parameters()
        try:
            network.save_pretrained(partial)
            _save_tokenizer(tokenizer, partial)
            if settings.model.tune == "lora":
                _copy_adapter(settings.model, weights, partial / ADAPTER)
        except SafetensorError as error:
            raise DataError(f"{folder}: cannot be written ({error}); free some space, and export again") from error
        del trained, network  # one copy in memory at a time
        written = read_network(partial, _attention(settings.model))
        done["max_difference"] = _difference(written, tokenizer, settings, expected, done["tolerance"], folder)
        if settings.model.tune == "lora":
            del written
            adapted = _trained(settings, partial / ADAPTER)
            done["adapter_max_difference"] = _difference(
                adapted, tokenizer, settings, expected, done["tolerance"], folder / ADAPTER
            )
        (partial / CARD).write_text(render_card(settings, done, facts), "utf-8")
        done["bytes"] = sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
    return done


def render_card(settings: Settings, done: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """The text of ``README.md``; ``done`` is what :func:`export_weights` knows so far, ``facts`` as there."""
    from huggingface_hub import ModelCardData

    model, licence = settings.model, facts.get("base_licence") or "unknown"
    known = licence.lower() in _HUB_LICENCES
    header = ModelCardData(
        base_model=_hub_name(model),
        license=licence.lower() if known else "other",
        license_name=None if known else licence.lower().replace(" ", "-"),
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=[*_TAGS, *(["lora"] if model.tune == "lora" else []), "not-for-all-audiences"],
    )
    recipe = settings.model_dump(include={"seed", "training", "data_mix"}) | {
        "model": model.model_dump(
            exclude={"assumed", "num_parameters"} | (set() if model.tune == "lora" else {"lora"})
        ),
        "max_tokens": settings.length.training_tokens,
        "rope": settings.length.rope.model_dump(exclude_none=True),
        "trainer": settings.trainer.name,
    }
    jinja = Environment(
        loader=PackageLoader("longsafety", "model"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=False,
    )  # fmt: skip
    return jinja.get_template("card.md.j2").render(
        header=header.to_yaml(),
        title=" ".join(filter(None, [settings.name, settings.label])),
        base=_hub_name(model) or ("random weights" if model.source == "tiny" else "a local model"),
        hub_name=_hub_name(model),
        identity=identity(model, Path(settings.paths.cache)),
        licence=licence,
        settings=settings,
        done=done,
        mix=_table(facts["mix"], _MIX_COLUMNS),
        training={name: _cell(_without_paths(value)) for name, value in facts["training"].items()},
        scores=_table(facts.get("scores") or []),
        recipe=_yaml(_without_paths(recipe)),
        versions=environment(),
    )


def _check_there(weights: Path, model: Model) -> None:
    name = ADAPTER_CONFIG if model.tune == "lora" else "config.json"
    if not (weights / name).is_file():
        raise DataError(
            f"{weights}: holds no {name}, which a training with model.tune={model.tune} writes; train again, or give "
            "the settings that it was trained with"
        )


def _attention(model: Model) -> str:
    return "eager" if model.attention == "eager" else "sdpa"  # compared on the CPU


def _trained(settings: Settings, weights: Path) -> Any:
    """The trained network in float32, its adapters not merged."""
    model = settings.model.model_copy(update={"attention": _attention(settings.model)})
    if model.tune == "full":
        return read_network(weights, model.attention)
    from peft import PeftModel

    base: Any = load_model(model, Path(settings.paths.cache), seed=BASE_SEED, rope=settings.length.rope)
    try:
        return PeftModel.from_pretrained(base, str(weights)).eval()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise DataError(
            f"{weights}: its adapters cannot be loaded on model {model.name} "
            f"({first_line(error)}); train again, or give the settings that they were trained with"
        ) from error


def _tokenizer(settings: Settings) -> Any:
    tokenizer: Any = load_tokenizer(settings.model, Path(settings.paths.cache))
    if settings.length.rope.kind != "none":
        tokenizer.model_max_length = max(tokenizer.model_max_length, settings.model.window)
    return tokenizer


def _stored_type(model: Model, weights: Path) -> torch.dtype:
    """The dtype of fully trained weights, so that nothing is rounded or enlarged; merging needs float32."""
    if model.tune == "lora":
        return torch.float32
    stored = getattr(torch, str(json.loads((weights / "config.json").read_text("utf-8")).get("dtype")), torch.float32)
    assert isinstance(stored, torch.dtype)
    return stored


def _logits(network: Any, tokenizer: Any, settings: Settings) -> torch.Tensor:
    """Logits of the fixed prompt, with scaled positions also at the window's end: ``[1 or 2, tokens, V]``."""
    chat = [{"role": "user", "content": PROMPT}]
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    ids = ids["input_ids"]
    count = ids.shape[1]
    starts = [0] if settings.length.rope.kind == "none" else [0, settings.model.window - count]
    with torch.inference_mode():
        return torch.cat(
            [network(input_ids=ids, position_ids=torch.arange(at, at + count)[None]).logits for at in starts]
        )


def _difference(
    network: Any, tokenizer: Any, settings: Settings, expected: torch.Tensor, tolerance: float, folder: Path
) -> float:
    difference = float((_logits(network, tokenizer, settings) - expected).abs().max())
    if not difference <= tolerance:  # NaN fails too
        raise DataError(
            f"{folder}: what was written has other logits than the trained model (they differ by {difference:.2g}, and "
            f"at most {tolerance:.2g} is rounding), so nothing was kept; export again, with the versions of torch, "
            "transformers and peft that it was trained with"
        )
    return difference


def _save_tokenizer(tokenizer: Any, folder: Path) -> None:
    told = tokenizer.chat_template  # here a fixed date; the model's own reads the clock again
    own = undated(told) if isinstance(told, str) else {name: undated(text) for name, text in told.items()}
    tokenizer.chat_template = own
    try:
        tokenizer.save_pretrained(folder)
    finally:
        tokenizer.chat_template = told
    path = folder / "tokenizer_config.json"
    content = json.loads(path.read_text("utf-8"))
    for how_it_was_loaded in ("is_local", "local_files_only"):
        content.pop(how_it_was_loaded, None)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _copy_adapter(model: Model, weights: Path, folder: Path) -> None:
    """Leaves out PEFT's own card and the base model's local path, which are useless elsewhere."""
    folder.mkdir()
    shutil.copyfile(weights / ADAPTER_WEIGHTS, folder / ADAPTER_WEIGHTS)
    config = json.loads((weights / ADAPTER_CONFIG).read_text("utf-8"))
    config |= {"base_model_name_or_path": _hub_name(model), "revision": model.revision}
    (folder / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def _hub_name(model: Model) -> str | None:
    if model.source == "smollm2":
        return REPOSITORY
    return None if model.source == "tiny" or Path(model.source).expanduser().exists() else model.source


def _without_paths(value: Any) -> Any:
    """The same value with local paths reduced to their last part."""
    if isinstance(value, Mapping):
        return {key: _without_paths(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_paths(item) for item in value]
    if isinstance(value, Path) or (isinstance(value, str) and value.startswith(("/", "~", "."))):
        return Path(value).name
    if isinstance(value, str) and "/" in value and Path(value).exists():
        return Path(value).name
    return value


def _table(rows: Any, columns: tuple[str, ...] | None = None) -> list[list[str]]:
    """Head and rows as text; empty without rows."""
    plain = [dict(row) for row in rows]
    if not plain:
        return []
    columns = columns or tuple(plain[0])
    return [list(columns), *([_cell(_without_paths(row.get(name))) for name in columns] for row in plain)]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value).replace("|", "\\|").replace("\n", " ")


def _yaml(value: Any) -> str:
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)
