"""The tokenizer, learnt from captions and tags, and the small text encoder's shape."""

import copy
from collections.abc import Iterable, Sequence

from tokenizers import Regex as Pattern
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

MAX_TOKENS = 24
BOS, EOS = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
# What CLIP's tokenizer splits at: the merges must be learnt on the same pieces.
PIECES = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def learn_tokenizer(phrases: Iterable[str], vocabulary: int) -> CLIPTokenizer:
    """A CLIP tokenizer whose merges are learnt from `phrases`.

    All 256 bytes are in the vocabulary, alone and at a word's end, so that any text has tokens.
    """
    learner = Tokenizer(models.BPE(end_of_word_suffix=WORD_END))
    learner.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Pattern(r"\s+"), " "), normalizers.Lowercase()]
    )
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Pattern(PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learner.train_from_iterator(
        phrases,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[BOS, EOS, *(letter + WORD_END for letter in alphabet)],
            initial_alphabet=alphabet,
            end_of_word_suffix=WORD_END,
            show_progress=False,
        ),
    )
    return tokenizer_from_learner(learner, alphabet)


def tokenizer_from_learner(learner: Tokenizer, alphabet: list[str]) -> CLIPTokenizer:
    """The learnt merges as a CLIP tokenizer: start, end, bytes, bytes at a word's end, merges."""
    import json

    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    tokens = [BOS, EOS, *alphabet, *(letter + WORD_END for letter in alphabet)]
    tokens += [left + right for left, right in merges]
    vocab = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS)


def tokenize(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> Tensor:
    """Captions as (N, T) int64, cut or padded to the T tokens that the tokenizer allows."""
    tokens: Tensor = tokenizer(
        list(captions),
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    return tokens


def build_text_encoder(vocabulary: int, hidden: int, layers: int) -> CLIPTextModel:
    """An untrained CLIP text tower for sequences of `MAX_TOKENS`."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=hidden,
            intermediate_size=4 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
            projection_dim=hidden,
        )
    )


def tokenizer_of_length(tokenizer: CLIPTokenizer, length: int) -> CLIPTokenizer:
    """The same tokenizer for captions of up to `length` tokens, start and end among them."""
    found: CLIPTokenizer = copy.deepcopy(tokenizer)
    found.model_max_length = length
    return found
