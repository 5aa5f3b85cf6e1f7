"""CLIP's byte-pair tokenizer: the same ids as OpenAI's for every string."""

from __future__ import annotations

import functools
import gzip
import html
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import ftfy
import regex
import torch
from torch import Tensor

CONTEXT_LENGTH = 77
START, END = "<|startoftext|>", "<|endoftext|>"

_MERGES_FILE = Path(__file__).with_name("bpe_simple_vocab_16e6.txt.gz")
# The vocabulary has room for 512 byte symbols (each alone and as a word's end) and two specials;
# the rest are merges.
VOCAB_SIZE = 49408
_WORD = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    regex.IGNORECASE,
)


def _byte_symbols() -> dict[int, str]:
    """A printable character for each of the 256 byte values; printable bytes stand for themselves."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    ]
    symbols = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        if byte not in symbols:
            symbols[byte] = chr(256 + len(symbols) - len(printable))
    return symbols


def _clean(text: str) -> str:
    """Mend mojibake, undo HTML escapes (some sources escape twice), collapse white space, lower-case."""
    text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return regex.sub(r"\s+", " ", text).strip().lower()


class SimpleTokenizer:
    """Byte-pair encoding with an end-of-word mark.

    Args:
        merges: gzipped merge table, a header line and then one merge a line in order of rank.
    """

    def __init__(self, merges: Path = _MERGES_FILE) -> None:
        lines = gzip.decompress(merges.read_bytes()).decode("utf-8").split("\n")
        symbols = _byte_symbols()
        self._byte_to_symbol = symbols
        pairs = [tuple(line.split()) for line in lines[1 : VOCAB_SIZE - 2 * len(symbols) - 2 + 1]]
        # dict order is byte order for the printable symbols first, as in the published vocabulary
        alphabet = list(symbols.values())
        vocabulary = [*alphabet, *(s + "</w>" for s in alphabet), *("".join(p) for p in pairs), START, END]
        self.encoder = {token: i for i, token in enumerate(vocabulary)}
        self.decoder = dict(enumerate(vocabulary))
        self._rank = {pair: i for i, pair in enumerate(pairs)}
        self._symbol_to_byte = {symbol: byte for byte, symbol in symbols.items()}
        # Bounded, and tied to this object, so that a tokenizer can be freed.
        self._bpe = functools.lru_cache(maxsize=65536)(self._merge_word)

    def _merge_word(self, word: str) -> tuple[str, ...]:
        """Symbols of one pre-split word after all merges, lowest rank first."""
        if word in (START, END):
            return (word,)
        parts = [*word[:-1], word[-1] + "</w>"]
        while len(parts) > 1:
            best = min(pairwise(parts), key=lambda pair: self._rank.get(pair, len(self._rank)))
            if best not in self._rank:
                break
            merged, i = [], 0
            while i < len(parts):
                if tuple(parts[i : i + 2]) == best:
                    merged.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    merged.append(parts[i])
                    i += 1
            parts = merged
        return tuple(parts)

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text``, without start and end tokens."""
        ids: list[int] = []
        for word in _WORD.findall(_clean(text)):
            symbols = "".join(self._byte_to_symbol[byte] for byte in word.encode("utf-8"))
            ids.extend(self.encoder[token] for token in self._bpe(symbols))
        return ids

    def word(self, token: int) -> str:
        """A token for people: a word, or its end, as it is written; with "…" where the word goes on.

        What cannot be printed (a part of a character, a control character) is shown as the vocabulary has it.
        """
        symbols = self.decoder[token]
        if symbols in (START, END):
            return symbols
        text, written = symbols.removesuffix("</w>"), self.decode([token]).removesuffix(" ")
        if written.isprintable() and written.strip() and "\ufffd" not in written:
            text = written
        return text if symbols.endswith("</w>") else f"{text}…"

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids; every word ends in a space."""
        text = "".join(self.decoder[int(i)] for i in ids)
        data = bytearray(self._symbol_to_byte[symbol] for symbol in text)
        return data.decode("utf-8", errors="replace").replace("</w>", " ")


@functools.cache
def default_tokenizer() -> SimpleTokenizer:
    """The one tokenizer of the process, built on first use."""
    return SimpleTokenizer()


def tokenize(
    texts: str | Sequence[str], context_length: int = CONTEXT_LENGTH, truncate: bool = False
) -> Tensor:
    """Token ids of texts between start and end tokens, padded with zeros.

    Args:
        texts: one text or N of them.
        context_length: number of columns.
        truncate: cut a text that is too long, keeping the end token last.

    Returns:
        int64 [N, context_length].

    Raises:
        ValueError: a text does not fit and ``truncate`` is off.
    """
    tokenizer = default_tokenizer()
    texts = [texts] if isinstance(texts, str) else texts
    tokens = torch.zeros(len(texts), context_length, dtype=torch.long)
    for row, text in zip(tokens, texts, strict=True):
        ids = [tokenizer.encoder[START], *tokenizer.encode(text), tokenizer.encoder[END]]
        if len(ids) > context_length:
            if not truncate:
                raise ValueError(
                    f"text is too long: {len(ids)} tokens for context length {context_length}; "
                    f"shorten it or pass truncate=True: {text[:80]!r}"
                )
            ids = [*ids[: context_length - 1], ids[-1]]
        row[: len(ids)] = torch.tensor(ids)
    return tokens
