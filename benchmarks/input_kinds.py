"""Valid logs, texts and checkpoints of every kind, each with what reads it. Not here: changing them, runs."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from mutations import mutated, mutated_zip

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support import checkpoint_files, keras_files, keras_models, logs, theirs, tiny
from support.mind import write_mind
from support.plm4newsrs import SETTINGS, nrms_state

from rec_trak.attribution.job import Run, read_job
from rec_trak.checkpoints.info import describe_checkpoint
from rec_trak.checkpoints.records import read_record
from rec_trak.checkpoints.source import read_settings, read_source
from rec_trak.config.analysis import read_analysis_config
from rec_trak.config.reading import Reading
from rec_trak.config.training import read_training_config
from rec_trak.data import kept
from rec_trak.data.articles import read_news_items, read_word_vectors
from rec_trak.data.further import read_further
from rec_trak.data.numbered import read_dictionary, read_numbers
from rec_trak.data.sources import read_data
from rec_trak.data.targets import read_explained, read_targets
from rec_trak.detection.known import read_known
from rec_trak.detection.labels import read_row_numbers
from rec_trak.training.job import _mapped_users

Settle = Callable[[Path, np.random.Generator], dict[Path, bytes]]


@dataclass(frozen=True)
class Kind:
    """Inputs of a kind.

    Attributes:
        name: of the table's line.
        files: one of which is changed at a time.
        readers: called one after the other.
        change: how.
        share: of the tries, where 1 is usual.
        settle: what else is changed with a file, such as its check sum: path -> content to put back.
    """

    name: str
    files: tuple[Path, ...]
    readers: tuple[Callable[[], object], ...]
    change: Callable[[bytes, np.random.Generator], bytes] = mutated
    share: float = 1.0
    settle: Settle = lambda path, rng: {}


def files_in(folder: Path, *patterns: str) -> tuple[Path, ...]:
    return tuple(sorted(path for pattern in patterns for path in folder.rglob(pattern) if path.is_file()))


def logs_of(place: Path, tree: Path) -> list[Kind]:
    """Click logs with their articles, and targets."""
    train, mixed = tree / "models/train_clean.csv", tree / "benchmarks/benchmark_mixed.csv"
    articles = read_news_items(tree / "news_items.csv")
    asked = place / "asked.csv"
    lines = [f"u{i},\"['n1', 'n{i}']\",\"['n{i}', 'n9']\",n{i}" for i in range(2, 8)]
    asked.write_text("\n".join(["user_id,history_ids,candidate_ids,explained_id", *lines]) + "\n", encoding="utf-8")
    mind, adressa, prepared = (place / name for name in ("mind", "week", "Adressa"))
    write_mind(mind)
    translated = logs.write_xmind(place / "xmind")
    logs.write_adressa(adressa)
    logs.write_prepared(prepared)
    ebnerd, parsed = logs.write_ebnerd(place / "ebnerd"), _write_parsed(place / "parsed")
    told = Reading("parsed")
    return [
        Kind(
            "pairwise CSV", (train, tree / "news_items.csv"), (partial(read_data, tree, None, "train_clean"),), share=2
        ),
        Kind(
            "targets CSV",
            (mixed, asked),
            (partial(read_targets, mixed, articles), partial(read_explained, asked, articles)),
        ),
        Kind("MIND TSV", files_in(mind, "*.tsv"), (partial(read_data, mind, None, "train_clean"),), share=2),
        Kind(
            "xMIND TSV",
            (translated, *files_in(place / "xmind/MINDsmall_train", "*.tsv")),
            (partial(read_data, place / "xmind/MINDsmall_train", translated, "train_clean"),),
        ),
        Kind("Adressa JSON", files_in(adressa, "2017*"), (partial(read_data, adressa, None, "train_clean"),)),
        Kind(
            "Adressa TSV", files_in(prepared / "train", "*.tsv"), (partial(read_data, prepared, None, "train_clean"),)
        ),
        Kind(
            "EB-NeRD Parquet",
            (ebnerd / "articles.parquet", *files_in(ebnerd / "train", "*.parquet")),
            (partial(read_data, ebnerd, None, "train_clean"),),
        ),
        Kind("preprocessed TSV", files_in(parsed, "*.tsv"), (partial(read_data, parsed, None, "train_clean", told),)),
        _tables_kept(place),
    ]


def _write_parsed(folder: Path) -> Path:
    """A folder as yusanshi's preprocessing leaves it."""
    news = [(f"N{i}", "news", "vote", f"Storm {i}", "A storm", "", "[]", "[]") for i in range(1, 4)]
    files = {
        "news.tsv": [*("\t".join(fields) for fields in news)],
        "word2int.tsv": ["word\tint", "storm\t1", "ahead\t2"],
        "category2int.tsv": ["category\tint", "news\t1", "vote\t2"],
        "user2int.tsv": ["user\tint", "U9\t1", "U7\t2"],
        "news_parsed.tsv": [
            "id\tcategory\tsubcategory\ttitle\tabstract\ttitle_entities",
            *(f"N{i}\t1\t2\t[1, {i % 2}, 0]\t[0, 1]\t[]" for i in range(1, 4)),
        ],
        "behaviors_parsed.tsv": [
            "user\tclicked_news\tcandidate_news\tclicked",
            *("2\tN1 N2\tN3 N1 N2\t1 0 0", "1\t \tN1 N1 N3\t1 0 0", "2\tN3\tN2 N3\t1 0"),
        ],
    }  # fmt: skip
    folder.mkdir()
    for name, lines in files.items():
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def _tables_kept(place: Path) -> Kind:
    """What is kept of a log that was read."""
    kept.LEAST = 0
    tree = tiny.write_tree(place / "kept")
    read = partial(read_data, tree, None, "train_clean")
    read()
    kept.LEAST = 2**40
    (path,) = files_in(place / "cache", "*.tables")

    def again() -> object:
        kept.LEAST = 0
        return read()

    return Kind("tables kept", (path,), (again,))


def texts(place: Path, tree: Path) -> list[Kind]:
    """Settings, maps of names to numbers, vectors, rows by number."""
    tiny.write_models(place / "runs", tree, members=1)
    (place / "lstur").mkdir()
    tiny.write_models(place / "lstur/runs", tree, "lstur")
    shutil.copytree(tree, place / "data")
    articles = read_news_items(tree / "news_items.csv")
    sets = {"a": str(tree / "benchmarks/benchmark_mixed.csv"), "b": {"article": "n3", "users": "all", "count": 4}}
    analysis = tiny.write_config(place, targets=sets)
    training = place / "training.yaml"
    training.write_text(
        (Path(__file__).parents[1] / "configs/train/nrms.yaml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    job = partial(lambda: read_job(Run(read_analysis_config(analysis), "train_clean", "clean")))
    users, vectors = tree / "user_to_idx_map.json", place / "vectors.txt"
    vectors.write_text(theirs.VECTORS, encoding="utf-8")
    numbers, names = place / "word2int.tsv", place / "names.pkl"
    numbers.write_text(
        "word\tint\n" + "".join(f"{word}\t{i + 1}\n" for i, word in enumerate(tiny.WORDS)), encoding="utf-8"
    )
    names.write_bytes(pickle.dumps({word: i + 1 for i, word in enumerate(tiny.WORDS)}))
    further = arrays, entries = place / "views.npz", place / "entities.npy"
    np.savez(arrays, article_id=np.array(articles.ids), entities=np.arange(24).reshape(12, 2))
    np.save(entries, np.arange(36.0).reshape(12, 3))
    rows = place / "rows.csv"
    rows.write_text("sample_idx,poisoned\n" + "".join(f"{i},{i % 2}\n" for i in range(0, 20, 3)), encoding="utf-8")
    counts = partial(read_numbers, numbers, "word", "int")
    names_read = (partial(_mapped_users, users), counts, partial(read_dictionary, names))
    return [
        Kind("analysis YAML", (analysis,), (job,), share=2),
        Kind("training YAML", (training,), (partial(read_training_config, training),), share=2),
        Kind("model.json", (place / "runs/model.json",), (job,), share=2),
        Kind("users and words", (users, numbers, names), names_read),
        Kind("word vectors", (vectors,), (partial(read_word_vectors, vectors, tiny.WORDS),)),
        Kind("article arrays", further, tuple(partial(read_further, str(path), articles.ids, "t") for path in further)),
        Kind(
            "rows by number", (rows,), (partial(read_row_numbers, rows, 24), partial(read_known, rows, 24, "poisoned"))
        ),
    ]


def checkpoints(place: Path, tree: Path) -> list[Kind]:
    """Files of weights in each container, and what stands beside them."""
    folder = place / "weights"
    folder.mkdir()
    own = torch.load(place / "runs/clean_0.pt", weights_only=True)
    for name in ("zip.pt", "legacy.bin", "arrays.npz", "tensors.safetensors"):
        checkpoint_files.write(folder / name, own)
    theirs.save_carrying(folder / "carrying.ckpt", nrms_state(), **SETTINGS)
    held = keras_models.nrms(words=tiny.WORDS)
    keras_files.write_hdf5(folder / "keras.h5", keras_files.grouped(held, "nrms"))
    keras_files.write_hdf5(folder / "keras.weights.h5", keras_files.nested(held, "nrms"))
    keras_files.write_zip(folder / "model.keras", keras_files.nested(held, "nrms"), keras_files.nrms_config())
    index = checkpoint_files.write_shards(folder / "shards", own, ".safetensors")
    record = folder / "zip.json"
    record.write_text(json.dumps({"seed": 0, "epochs": [{"epoch": 1, "auc": 0.5}]}), encoding="utf-8")
    kinds = [
        Kind(f"checkpoint {path.suffix[1:]}", (path,), (partial(describe_checkpoint, path),))
        for path in (
            folder / name for name in ("zip.pt", "legacy.bin", "arrays.npz", "tensors.safetensors", "carrying.ckpt")
        )
    ]
    kinds += [
        Kind(f"{path.suffix[1:]}, sums right", (path,), (partial(describe_checkpoint, path),), mutated_zip)
        for path in (folder / name for name in ("zip.pt", "arrays.npz", "carrying.ckpt"))
    ]
    shards = (index, *files_in(folder / "shards", "*.safetensors"))
    kinds += [
        Kind("shards", shards, (partial(describe_checkpoint, folder / "shards"),)),
        Kind("record", (record,), (partial(read_record, folder / "zip.pt"),)),
    ]
    kinds += [  # these are read in a process of their own, which costs
        Kind(f"checkpoint {path.suffix[1:]}", (path,), (partial(describe_checkpoint, path),), change, 0.3)
        for path, change in (
            (folder / "keras.h5", mutated),
            (folder / "keras.weights.h5", mutated),
            (folder / "model.keras", mutated_zip),
        )
    ]
    settings = theirs.write_theirs(place, glove_file_path=str(place / "glove.txt")) / "m.yaml"
    python = settings.with_suffix(".py")
    python.write_text(
        "\n".join(f"{name} = {value!r}" for name, value in json.loads(settings.read_text()).items()), encoding="utf-8"
    )
    articles, checkpoint = read_news_items(tree / "news_items.csv"), settings.parent / "clean_0.ckpt"
    for path in (settings, python):
        read = partial(lambda path: read_source(read_settings(path), str(path), "auto", checkpoint, articles), path)
        kinds.append(Kind(f"settings {path.suffix[1:]}", (path,), (read,)))
    return kinds
