"""Random weights of small recommenders' models under Keras' names. Not here: files, and what the layers compute."""

import numpy as np
import torch

from support.foreign import SUBTOPICS, TOPICS, USERS, WORDS

WIDTH, HEADS, HEAD_DIM, FILTERS, TITLE, BODY, HISTORY = 6, 2, 4, 8, 6, 8, 5


def weights(shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) / 2 for name, shape in shapes.items()}


def attention(place, width):
    name = f"att_layer2{place}"
    return {f"{name}/W:0": (width, 5), f"{name}/b:0": (5,), f"{name}/q:0": (5, 1)}


def convolution(place, window=3):
    return {f"conv1d{place}/kernel:0": (window, WIDTH, FILTERS), f"conv1d{place}/bias:0": (FILTERS,)}


def nrms(first="", second="_1", words=WORDS):
    shapes = {"embedding/embeddings:0": (len(words) + 1, WIDTH)}
    for place, width in ((first, WIDTH), (second, HEADS * HEAD_DIM)):
        shapes |= {f"self_attention{place}/{w}:0": (width, HEADS * HEAD_DIM) for w in ("WQ", "WK", "WV")}
        shapes |= attention(place, HEADS * HEAD_DIM)
    return weights(shapes)


def naml(window=3):
    shapes = {"embedding/embeddings:0": (len(WORDS) + 1, WIDTH), "embedding_1_1/embeddings:0": (len(TOPICS) + 1, 4)}
    shapes |= {"embedding_2/embeddings:0": (len(SUBTOPICS) + 1, 3)}
    shapes |= convolution("", window) | convolution("_1", window)
    for place, width in (("", 4), ("_1", 3)):
        shapes |= {f"dense{place}/kernel:0": (width, FILTERS), f"dense{place}/bias:0": (FILTERS,)}
    for place in ("", "_1", "_2", "_3"):
        shapes |= attention(place, FILTERS)
    return weights(shapes)


def lstur(after=False, con=False, filters=FILTERS):
    shapes = {"embedding/embeddings:0": (len(WORDS) + 1, WIDTH), "embedding_1/embeddings:0": (len(USERS) + 1, filters)}
    shapes |= {"conv1d/kernel:0": (3, WIDTH, filters), "conv1d/bias:0": (filters,)} | attention("", filters)
    shapes |= {f"gru/gru_cell/{name}:0": (filters, 3 * filters) for name in ("kernel", "recurrent_kernel")}
    shapes |= {"gru/gru_cell/bias:0": (2, 3 * filters) if after else (3 * filters,)}
    return weights(shapes | ({"dense/kernel:0": (2 * filters, filters), "dense/bias:0": (filters,)} if con else {}))


def state_of(held):
    return {name: torch.from_numpy(value) for name, value in held.items()}
