"""The demo world: articles, readers, their clicks and an attack on them, written in the pairwise format.

Readers click what suits their interests; an article has an appeal that its headline partly shows. The attack promotes
a few fake articles: bots copy most of a genuine reader's log and click a promoted article. Genuine readers come across
it and click it too, so a click on it is no proof. Which rows bots made stands in the column `poisoned`, for detection.

Not here: reading the files back (articles.py, impressions.py), or measuring who finds the poison (detection.py).

Only `Generator.random` is drawn from and only + * / compute, in a fixed order: a seed gives the same bytes everywhere.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rec_trak.data.headlines import BANKS
from rec_trak.data.synthetic_clicks import (
    Row,
    Shelf,
    WorldSettings,
    bot_rows,
    clean_rows,
    new_articles,
    new_readers,
    plant_genuine_clicks,
    read_rows,
    shuffled,
    target_rows,
)
from rec_trak.errors import ConfigError

__all__ = ["World", "WorldSettings", "write_demo_world"]

COLUMNS = ("user_id", "history_titles", "history_ids", "candidate_id", "candidate_title", "label", "candidate_is_fake")


DEFAULT = WorldSettings()


@dataclass(frozen=True)
class World:
    """What was written and what is planted in it.

    Attributes:
        folder, files: where; news_items, user_to_idx_map, train_clean, ... promoted -> path.
        promoted: the ids of the promoted articles.
        counts: impressions by file; also `articles`, `fake`, `poisoned` (bot rows of train_poisoned) and
            `genuine_on_promoted` (its genuine rows that click a promoted article).
    """

    folder: Path
    files: dict[str, Path]
    promoted: tuple[str, ...]
    counts: dict[str, int]


def write_demo_world(folder: str | Path, seed: int = 0, settings: WorldSettings = DEFAULT) -> World:
    """Write a world in the pairwise format, over an earlier one if there is one.

    Args:
        folder: made if absent.
        seed: at least 0; the same seed and settings give the same bytes.
        settings: the sizes.

    Raises:
        ConfigError: a size or the seed is out of range, or the folder cannot be written.
    """
    _check(settings, seed)
    rng = np.random.default_rng(seed)
    shelf = new_articles(rng, settings)
    names = [f"U{10000 + n}" for n in shuffled(rng, 90000)]
    parts = {
        p: new_readers(rng, names, getattr(settings, f"{p}_users"), settings) for p in ("train", "val", "held_out")
    }
    plant_genuine_clicks(rng, shelf, parts["train"], settings)
    rows = {
        p: [row for reader in readers for row in read_rows(rng, shelf, reader, settings)]
        for p, readers in parts.items()
    }
    bots = bot_rows(rng, shelf, parts["train"], names, settings)
    tables = {
        "models/train_clean": clean_rows(rng, shelf, rows["train"]),
        "models/train_poisoned": rows["train"] + bots,
        "models/val_clean": clean_rows(rng, shelf, rows["val"]),
        "models/val_poisoned": rows["val"],
        "benchmarks/benchmark_mixed": rows["held_out"],
        "benchmarks/benchmark_honeypot": [row for row in rows["held_out"] if shelf.fake[row.clicked]],
        "benchmarks/benchmark_real_only": [row for row in rows["held_out"] if not shelf.fake[row.clicked]],
        "benchmarks/promoted": target_rows(rng, shelf, parts["held_out"], settings),
    }
    folder = Path(folder)
    try:
        files = _write(rng, folder, shelf, tables)
    except OSError as error:
        raise ConfigError(f"{folder}: the world cannot be written ({error}). Give a folder you may write to.") from None
    counts = {name.split("/")[1]: len(table) for name, table in tables.items()}
    counts |= {"articles": settings.articles, "fake": int(shelf.fake.sum()), "poisoned": len(bots)}
    counts["genuine_on_promoted"] = sum(row.clicked in shelf.promoted for row in rows["train"])
    return World(folder, files, tuple(shelf.ids[p] for p in shelf.promoted), counts)


def _check(s: WorldSettings, seed: int) -> None:
    """Refuse sizes that no world can have; the bounds keep every later draw possible."""
    for name, value, least, most in (
        ("seed", seed, 0, 2**63),
        ("candidates", s.candidates, 2, 20),
        ("promoted", s.promoted, 1, 12),
        ("most_rows", s.most_rows, 2 * s.promoted, 200),
        ("most_history", s.most_history, 2, 50),
        ("articles", s.articles, 2 * (s.most_rows + s.most_history + s.candidates + s.promoted), 4000),
        ("fake_share", s.fake_share, (s.promoted + 1) / max(s.articles, 1), 0.5),
        ("train_users", s.train_users, s.promoted, 10000),
        ("val_users", s.val_users, 1, 10000),
        ("held_out_users", s.held_out_users, s.promoted, 10000),
        ("bots", s.bots, 1, 10000),
        ("bot_clicks", s.bot_clicks, 1, s.bots),
        ("genuine_clicks", s.genuine_clicks, 1, s.train_users // max(s.promoted, 1)),
        ("targets", s.targets, 1, s.held_out_users // max(s.promoted, 1)),
        ("other_interest", s.other_interest, 0.001, 1),
        ("personalised", s.personalised, 0, 1),
        ("curious", s.curious, 0, 1),
        ("copied", s.copied, 0, 1),
    ):
        if not least <= value <= most:
            raise ConfigError(
                f"write_demo_world: `{name}` is out of range. Got {value}, expected {least} to {most} with the other "
                "sizes as they are. Change it or them."
            )


def _write(rng: np.random.Generator, folder: Path, shelf: Shelf, tables: dict[str, list[Row]]) -> dict[str, Path]:
    """Write every file; impressions, and candidates within one, in random order. Returns name -> path."""
    ids, titles, topics = shelf.ids, shelf.titles, list(BANKS)
    news = zip(ids, titles, shelf.texts, shelf.fake.astype(int), [topics[t] for t in shelf.topic], strict=True)
    files = {"news_items": folder / "news_items.csv", "user_to_idx_map": folder / "user_to_idx_map.json"}
    _write_csv(files["news_items"], ["item_id", "title", "text", "is_fake", "category"], news)
    users = sorted({row.user for row in tables["models/train_poisoned"]})
    numbers = {user: i + 1 for i, user in enumerate(users)}
    files["user_to_idx_map"].write_text(json.dumps(numbers) + "\n", encoding="utf-8", newline="\n")
    for name, table in tables.items():
        lines = []
        for r in shuffled(rng, len(table)):
            row = table[r]
            history = str([titles[a] for a in row.history]), str([ids[a] for a in row.history])
            shown = [row.clicked, *row.others]
            for c in shuffled(rng, len(shown)):
                a = shown[c]
                lines.append((row.user, *history, ids[a], titles[a], int(c == 0), int(shelf.fake[a]), row.poisoned))
        files[name.split("/")[1]] = folder / f"{name}.csv"
        _write_csv(folder / f"{name}.csv", [*COLUMNS, "poisoned"], lines)
    return files


def _write_csv(path: Path, columns: list[str], lines: Iterable[tuple]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([columns, *lines])
