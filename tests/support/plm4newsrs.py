"""State dicts and settings as plm4newsrs has them. Not here: tests."""

import numpy as np
import torch

from rec_trak.data.articles import Articles

SETTINGS = {
    "model_name": "glove",
    "glove_file_path": "glove.txt",
    "max_seq_length": 5,
    "max_title_length": 4,
    "max_history_length": 3,
    "num_attention_heads": 2,
    "num_user_attention_heads": 4,
    "seed": 11,
}


def nrms_state(width: int = 8, query_dim: int = 3) -> dict[str, torch.Tensor]:
    """A state dict with NRMS's names and shapes."""
    shapes = {}
    for name in ("news_encoder.word", "user_encoder.news"):
        shapes |= {
            f"{name}_self_attention.qkv_proj.weight": (3 * width, width),
            f"{name}_self_attention.qkv_proj.bias": (3 * width,),
            f"{name}_self_attention.out_proj.weight": (width, width),
            f"{name}_self_attention.out_proj.bias": (width,),
            f"{name}_attention.attention.0.weight": (query_dim, width),
            f"{name}_attention.attention.0.bias": (query_dim,),
            f"{name}_attention.attention.2.weight": (1, query_dim),
        }
    return {f"model.{name}": torch.randn(shape) for name, shape in shapes.items()}


def naml_state(width: int = 8, filters: int = 5, query_dim: int = 3) -> dict[str, torch.Tensor]:
    """A state dict with the names and shapes of a NAML whose body encoder was switched on too."""
    shapes = {"view_attention_query": (filters,), "view_attention_proj.weight": (query_dim, filters)}
    for i, window in enumerate((2, 3)):
        for view in ("title", "body"):
            shapes[f"{view}_cnn.convs.{i}.weight"] = (filters, width, window)
            shapes[f"{view}_cnn.convs.{i}.bias"] = (filters,)
            shapes[f"{view}_projection.weight"] = (filters, 2 * filters)
            shapes[f"{view}_projection.bias"] = (filters,)
    shapes = {f"news_encoder.{name}": shape for name, shape in shapes.items()} | {
        "user_encoder.news_attention.attention.0.weight": (query_dim, filters),
        "user_encoder.news_attention.attention.0.bias": (query_dim,),
        "user_encoder.news_attention.attention.2.weight": (1, query_dim),
    }
    return {f"model.{name}": torch.randn(shape) for name, shape in shapes.items()}


def make_articles(*titles: str) -> Articles:
    blank = ("",) * len(titles)
    ids = tuple(f"n{i}" for i in range(len(titles)))
    return Articles(ids, titles, blank, blank, blank, np.zeros(len(titles), dtype=np.int8), "news.csv")


ARTICLES = make_articles("Storm, vote", "market vote")
