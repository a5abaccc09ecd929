"""Language models small enough for any test: folders with a config.json, weights and a tokeniser. Not here: tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rec_trak.config.model import ModelConfig, TextConfig
from rec_trak.data.impressions import Impressions
from rec_trak.data.inputs import Inputs
from rec_trak.data.ragged import Ragged
from rec_trak.models.build import build_model

transformers = pytest.importorskip("transformers")

VOCABULARY, WIDTH, LONGEST = 60, 16, 40
BERT = {
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": LONGEST,
}
KINDS = {
    "bert": BERT,
    "roberta": BERT | {"pad_token_id": 1},
    "distilbert": {
        "dim": WIDTH,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 24,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": LONGEST,
    },
    "mpnet": BERT | {"pad_token_id": 1},
    "electra": BERT | {"embedding_size": 8},
    "albert": BERT | {"embedding_size": 8},
}
ATTENTION = [(kind, how) for kind in KINDS for how in ("sdpa", "eager") if (kind, how) != ("mpnet", "sdpa")]
HEADS = {
    "nrms": {"word_dim": WIDTH, "heads": 2, "head_dim": 8, "query_dim": 5, "output_projection": True},
    "naml": {"word_dim": WIDTH, "filters": 6, "query_dim": 5},
}
WINDOWS = {"masked": {}, "read": {"windows": (2, 3)}}  # of NAML's convolution


def write_language_model(folder: Path, kind: str = "bert", **more) -> Path:
    """A folder with the config.json of a tiny model of that kind; no weights."""
    transformers.AutoConfig.for_model(kind, **(KINDS[kind] | more)).save_pretrained(folder)
    return folder


def write_weights(folder: Path, **more) -> torch.nn.Module:
    """Fresh weights in safetensors for the folder's config.json; gives the model that holds them."""
    config = transformers.AutoConfig.from_pretrained(folder)
    model = transformers.AutoModel.from_config(config).eval()
    model.save_pretrained(folder, **more)
    return model


def write_tokeniser(folder: Path, words: str = "storm vote market goal star virus") -> Path:
    """A tokeniser that knows a few words: [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, then the words."""
    tokenizers = pytest.importorskip("tokenizers")
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words.split()]
    whole = tokenizers.Tokenizer(tokenizers.models.WordLevel({name: i for i, name in enumerate(names)}, "[UNK]"))
    whole.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    whole.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=whole, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(folder)
    return folder


def make_config(folder: Path, architecture: str = "nrms", padding: str = "masked", **more) -> ModelConfig:
    """An architecture over the language model in `folder`, with titles of up to 9 tokens."""
    text = TextConfig(tokeniser="pretrained", pretrained=str(folder), title_length=9, padding=padding)
    sizes = HEADS[architecture] | (WINDOWS[padding] if architecture == "naml" else {})
    return ModelConfig(architecture, sizes=sizes, text=text, **more)


def make_model(folder: Path, architecture: str = "nrms", padding: str = "masked", how: str = "sdpa", **more):
    """That model in eval mode, with weights large enough that attention is not uniform."""
    torch.manual_seed(0)
    model = build_model(make_config(folder, architecture, padding, **more)).eval()
    model.word_embedding.lm.set_attn_implementation(how)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model


def make_inputs(rows: int = 7, articles: int = 12) -> Inputs:
    """Rows of unlike lengths over articles of 1 to 9 tokens, and one without any; articles repeat within a row."""
    rng = np.random.default_rng(0)
    lengths = np.minimum(np.arange(articles), 9)
    title = rng.integers(4, VOCABULARY, size=(articles, 9)) + 1
    title[np.arange(9) >= lengths[:, None]] = 0
    history = [[3, 3, 5], [], [0, 2, 0, 7], *(rng.integers(articles, size=1 + i).tolist() for i in range(rows - 3))]
    impressions = Impressions(
        user_ids=np.array([f"u{i}" for i in range(rows)], dtype=object),
        history=Ragged.of(history[:rows]),
        candidates=Ragged.of([rng.integers(articles, size=2 + i % 4).tolist() for i in range(rows)]),
        labels=Ragged.of([[1] + [0] * (1 + i % 4) for i in range(rows)]),
        is_fake=np.zeros(rows, dtype=np.int8),
        sources=tuple(map(str, range(rows))),
    )
    return Inputs(impressions, {"title": title.astype(np.int32)}, np.zeros(rows, dtype=np.int64))
