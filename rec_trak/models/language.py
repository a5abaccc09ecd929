"""A transformer that reads texts for NRMS or NAML: a Hugging Face encoder behind our word ids. Not here: tokens.

Nothing from a model's folder is run: code in it is never trusted, and weights are read from safetensors alone.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from rec_trak.data.pretrained import read_pretrained
from rec_trak.errors import ConfigError, listed, told
from rec_trak.words import quoted


class LanguageModel(nn.Module):
    """Contextual word vectors from any Hugging Face encoder, without the pooler that no score reads.

    Attributes:
        lm: the encoder.
        padding: the encoder's own id of padding; what stands there is never attended to.
        longest: the tokens that its embedding of positions has room for; None where it has no such embedding.
    """

    def __init__(self, pretrained: str, dim: int) -> None:
        """Fresh weights of the architecture that `pretrained`'s config.json describes.

        Args:
            pretrained: a folder, or a name on the hub.
            dim: the width that the layers above expect.

        Raises:
            ConfigError: transformers is not installed, there is no such model, or it cannot be used here.
        """
        super().__init__()
        config = read_pretrained(pretrained, "AutoConfig")
        width = getattr(config, "hidden_size", None)
        if width != dim or getattr(config, "is_encoder_decoder", False):
            kind = "an encoder and a decoder" if width == dim else f"{width} numbers a token"
            raise ConfigError(
                f"`pretrained` {pretrained}: the language model does not fit. Got {kind}, expected an encoder with "
                f"`word_dim` {dim}. Set `word_dim` to the language model's width, or name another one."
            )
        self.lm = _built(config, pretrained)
        self.padding = config.pad_token_id or 0
        self.longest = _longest(self.lm)
        if hasattr(getattr(self.lm, "encoder", None), "compute_position_bias"):
            self.lm.encoder.compute_position_bias = self._position_bias

    def forward(self, ids: Tensor) -> Tensor:
        """(n, T, dim) from ids (n, T): the language model's own plus 1, 0 for padding.

        Raises:
            ConfigError: texts are longer than the language model can read.
        """
        if self.longest is not None and ids.shape[1] > self.longest:
            raise ConfigError(
                f"`title_length`, `body_length`: longer than the language model reads. Got texts of {ids.shape[1]} "
                f"tokens, expected at most {self.longest}. Set a smaller length."
            )
        real = ids != 0
        # A text without a token attends to its padding: softmax over nothing is NaN, and what comes out is masked.
        seen = real | ~real.any(dim=-1, keepdim=True)
        return self.lm(
            input_ids=torch.where(real, ids - 1, self.padding), attention_mask=_attention_mask(seen)
        ).last_hidden_state

    def _position_bias(self, hidden: Tensor, *_: Any) -> Tensor:
        """MPNet's biases of relative positions, (n, heads, T, T), looked up for each text rather than once for all:
        so each has an owner."""
        encoder, places = self.lm.encoder, torch.arange(hidden.shape[1], device=hidden.device)
        buckets = encoder.relative_position_bucket(places - places[:, None])
        return encoder.relative_attention_bias(buckets.expand(len(hidden), -1, -1)).permute(0, 3, 1, 2)


def load_pretrained(model: LanguageModel, pretrained: str) -> None:
    """Replace the language model's weights by those that `pretrained` holds in safetensors.

    Raises:
        ConfigError: there are none, they lack some of the model's parameters, or hold one of another shape.
    """
    more = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
    source, report = read_pretrained(pretrained, "AutoModel", **more)
    held, wanted = source.state_dict(), model.lm.state_dict()
    missing = [name for name in wanted if name not in held or name in report["missing_keys"]]
    shapes = [name for name in wanted if name in held and held[name].shape != wanted[name].shape]
    problems = filter(None, (listed("missing", missing), listed("of another shape", shapes)))
    if missing or shapes:
        raise ConfigError(
            f"`pretrained` {pretrained}: weights of another model. Got {'; '.join(problems)}, expected all "
            f"{len(wanted)} tensors. Name the model that the configuration describes."
        )
    model.lm.load_state_dict({name: held[name] for name in wanted})


def _built(config: Any, pretrained: str) -> nn.Module:
    """The module of a configuration, in float32, without a pooler where that can be left out."""
    from transformers import AutoModel

    try:
        maker = AutoModel._model_mapping[type(config)]
        pools = "add_pooling_layer" in inspect.signature(maker.__init__).parameters
        more = {"add_pooling_layer": False} if pools else {}
        return AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False, **more)
    except Exception as error:  # a configuration may make a foreign constructor raise anything
        raise ConfigError(
            f"`pretrained` {pretrained}: no model can be built from its config.json ({told(error)}). Got "
            f"`model_type` {quoted(config.model_type)}, expected an encoder that AutoModel knows. Name another one."
        ) from None


def _longest(lm: nn.Module) -> int | None:
    """The longest text that has a position for each token; RoBERTa's count from behind the one for padding."""
    positions = getattr(getattr(lm, "embeddings", None), "position_embeddings", None)
    if not isinstance(positions, nn.Embedding):
        return None
    return positions.num_embeddings - (0 if positions.padding_idx is None else positions.padding_idx + 1)


def _attention_mask(seen: Tensor) -> Tensor | None:
    """The mask (n, T) as transformers takes it; nothing where nothing is masked."""
    try:
        return None if bool(seen.all()) else seen.to(torch.int64)
    except RuntimeError:  # inside torch.func.vmap no number can be looked at, which transformers would do as well
        lowest = torch.finfo(torch.float32).min
        return torch.zeros_like(seen, dtype=torch.float32).masked_fill(~seen, lowest)[:, None, None]
