"""What was analysed, as names and values: all that a reader needs to trust or repeat a run. Not here: its findings."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from rec_trak.page.tables import shown
from rec_trak.results.files import Results


def analysed(results: Results, read: str = "") -> list[tuple[str, str]]:
    """Name and value of what metadata.json says, and `read`, see reading.py; what is not said is left out."""
    metadata, rows = results.metadata, results.rows

    def count(column: str) -> int:
        return len(rows.codes(column)[1])

    features, score = metadata.get("features") or {}, metadata.get("score") or {}
    fake, real = (int((results.labels == label).sum()) for label in (1, 0))
    unknown = f", of {len(rows) - fake - real:,} nobody said" if fake + real < len(rows) else ""
    digests = {**(metadata.get("rows") or {}), **features}
    versions = metadata.get("versions") or {}
    lines = [
        ("click log", metadata.get("dataset_type")),
        ("checkpoints of", metadata.get("model_type")),
        ("model", _model(metadata.get("model") or {})),
        (
            "code base",
            ", ".join(dict.fromkeys(filter(None, (m.get("code_base") for m in metadata.get("members") or [])))),
        ),
        ("scored on", metadata.get("date")),
        ("rows", f"{len(rows):,} by {count('user_id'):,} users on {count('article_id'):,} articles"),
        ("of them", f"{fake:,} click a fake article, {real:,} a real one{unknown}" if fake or real else ""),
        ("known to the model", _known(metadata.get("coverage") or {})),
        ("read of histories", read),
        ("parameters differentiated", _counted(metadata.get("parameters"))),
        ("K, numbers kept of each gradient", _counted(metadata.get("proj_dim"))),
        ("projector", features.get("projector")),
        ("loss", features.get("loss")),
        ("score", score.get("form")),
        ("lambda_rel", score.get("lambda_rel")),
        ("seed", (metadata.get("config") or {}).get("seed")),
        ("digests", ", ".join(f"{k} {digests[k]}" for k in ("rows", "articles", "negatives") if k in digests)),
        ("versions", ", ".join(f"{name} {version}" for name, version in versions.items())),
        *(_member(place, member, proof) for place, (member, proof) in enumerate(_members(metadata))),
    ]
    return [(name, shown(value, None)) for name, value in lines if value not in (None, "")]


def _members(metadata: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What is said of each checkpoint, and what is known of its proof."""
    return zip_longest(metadata.get("members") or [], metadata.get("proof") or [], fillvalue={})


def _model(model: dict[str, Any]) -> str:
    if not model:
        return ""
    views, text = ", ".join(model.get("views") or []), model.get("text") or {}
    history = f"the {model.get('history_truncation')} {model.get('max_history')} articles of a history"
    return f"{model.get('architecture')} that reads {views} ({text.get('tokeniser')} tokens) and {history}"


def _proof(proof: dict[str, Any] | None) -> list[str]:
    """The validation AUC of what was loaded, beside what the checkpoint says."""
    if not proof or proof.get("auc") is None:
        return []
    stated = "" if proof.get("stated") is None else f", {proof['stated']:.4f} by the checkpoint"
    return [f"validation AUC {proof['auc']:.4f}{stated}"]


def _member(place: int, member: dict[str, Any], proof: dict[str, Any] | None) -> tuple[str, str]:
    numbers = {"ridge": ".3g", "effective_dimension": ".0f", "condition_number": ".3g", "max_leverage": ".2f"}
    told = [f"{name.replace('_', ' ')} {member[name]:{form}}" for name, form in numbers.items() if member.get(name)]
    return f"checkpoint {place}", ", ".join(
        [f"{Path(member.get('checkpoint') or '').name} (digest {member.get('digest')})", *_proof(proof), *told]
    )


def _known(coverage: dict[str, Any]) -> str:
    """What the model's dictionaries know of the rows."""
    shares = {what: 100 * one["known"] / max(one["shown"], 1) for what, one in coverage.items()}
    return ", ".join(f"{what} {share:.0f} % of {coverage[what]['shown']:,}" for what, share in shares.items())


def _counted(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else ""
