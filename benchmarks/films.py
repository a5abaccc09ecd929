"""A second log of real people: the MovieLens 100K ratings as clicks, in the pairwise layout that attacks.py reads.

python benchmarks/films.py ml-100k.inter ml-100k.item --folder runs/films

The two tables come with the package recbole (recbole/dataset_example/ml-100k; Harper and Konstan 2015; research use,
not to be passed on). A rating of 4 or 5 is a click, in order of time; a history is all clicks before, the newest 10 at
most. Of each user the first clicks only, few of most users and many of some, since people rate dozens of films in one
sitting where readers come back. The other 4 candidates are drawn as those of the PolitiFact shares, half by popularity
and half uniformly. No film is fake: every eighth is called so, by chance; attack A and the clean rows need the word.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import pandas as pd

from rec_trak import cli

LIKED, HISTORY, OTHERS, MOST = 4, 10, 4, 24  # stars of a click; articles; candidates beside the clicked; rows of a user
FAKE = 1 / 8
COLUMNS = ("user_id", "history_titles", "history_ids", "candidate_id", "candidate_title", "label", "candidate_is_fake")
PARTS = {"train": 0.7, "val": 0.1, "held_out": 0.2}  # of the users


def clicks_of(ratings: Path, rng: np.random.Generator) -> dict[str, list[str]]:
    """Each user's first clicks, in order of time; the first of them has no history and becomes no row."""
    table = pd.read_csv(ratings, sep="\t", header=0, names=["user", "film", "stars", "time"], dtype={0: str, 1: str})
    table = table[table["stars"] >= LIKED].sort_values(["user", "time", "film"], kind="stable")
    logs = {user: own["film"].tolist() for user, own in table.groupby("user", sort=True)}
    users = [user for user, log in logs.items() if len(log) > 1]
    shares = (rng.permutation(len(users)) + 0.5) / len(users)
    return {user: logs[user][: 2 + int(MOST * share**3)] for user, share in zip(users, shares, strict=True)}


def rows_of(log: list[str], weights: pd.Series, real: pd.Series, rng: np.random.Generator) -> list[tuple]:
    """A user's rows: history, clicked film, other candidates, and others that are none of the fake ones."""
    rows = []
    for t in range(1, len(log)):
        both = [_drawn(table.drop(log, errors="ignore"), rng) for table in (weights, real)]
        rows.append((log[max(0, t - HISTORY) : t], log[t], *both))
    return rows


def _drawn(weights: pd.Series, rng: np.random.Generator) -> list[str]:
    """OTHERS different films, every second one by its weight."""
    films, chance, drawn = weights.index.to_numpy(), weights.to_numpy(dtype=float), []
    for i in range(OTHERS):
        even = (chance > 0) if i % 2 else chance
        drawn.append(int(rng.choice(len(films), p=even / even.sum())))
        chance = np.where(np.arange(len(films)) == drawn[-1], 0, chance)
    return films[drawn].tolist()


def write_rows(path: Path, rows: list[tuple], titles: dict[str, str], fake: set[str]) -> None:
    """Impressions (user, history, clicked, others, ...) as lines of their candidates, the clicked first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for user, history, clicked, others, *_ in rows:
            told = (f"u{user}", [titles[f] for f in history], [f"film{f}" for f in history])
            for film in (clicked, *others):
                writer.writerow((*told, f"film{film}", titles[film], int(film == clicked), int(film in fake)))


def main(args) -> None:
    rng = np.random.default_rng(0)
    logs = clicks_of(args.ratings, rng)
    items = pd.read_csv(args.films, sep="\t", header=0, usecols=[0, 1], names=["film", "title"], dtype=str)
    films = sorted({film for log in logs.values() for film in log}, key=int)
    named = dict(zip(items["film"], items["title"], strict=True))
    titles = {film: f"{named[film]} ({film})" for film in films}  # some films have the same title
    fake = {film for film, drawn in zip(films, rng.random(len(films)), strict=True) if drawn < FAKE}
    weights = pd.Series([film for log in logs.values() for film in log]).value_counts()[films]
    real = weights.drop(sorted(fake))
    users = rng.permutation(sorted(logs, key=int)).tolist()
    ends = np.cumsum([round(share * len(users)) for share in PARTS.values()])[:-1]
    parts = dict(zip(PARTS, np.split(np.array(users), ends), strict=True))
    args.folder.mkdir(parents=True, exist_ok=True)
    news = {"item_id": [f"film{f}" for f in films], "title": titles.values(), "text": titles.values()}
    table = pd.DataFrame(news | {"is_fake": [int(f in fake) for f in films]})
    table.to_csv(args.folder / "news_items.csv", index=False)
    for part, own in parts.items():
        rows = [(user, *row) for user in own.tolist() for row in rows_of(logs[user], weights, real, rng)]
        if part == "held_out":
            write_rows(args.folder / "benchmarks" / "benchmark_mixed.csv", rows, titles, fake)
            continue
        write_rows(args.folder / "models" / f"{part}_poisoned.csv", rows, titles, fake)
        clean = [(*row[:3], row[4]) for row in rows if not fake & {*row[1], row[2]}]
        write_rows(args.folder / "models" / f"{part}_clean.csv", clean, titles, fake)
        print(f"{part}: {len(rows):,} rows of {len(own):,} users, {len(clean):,} without a film called fake")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ratings", type=Path, help="ml-100k.inter")
    parser.add_argument("films", type=Path, help="ml-100k.item")
    parser.add_argument("--folder", type=Path, default=Path("runs/films"), help="where the tree goes")
    cli.run_script(main, parser)
