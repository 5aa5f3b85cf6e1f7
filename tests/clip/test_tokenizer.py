from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from clip import tokenize
from clip.tokenizer import default_tokenizer


def test_known_ids() -> None:
    assert tokenize("a photo of a dog.")[0, :8].tolist() == [49406, 320, 1125, 539, 320, 1929, 269, 49407]


def test_cleaning_undoes_markup_and_mojibake() -> None:
    plain = default_tokenizer().encode("a & b “c”")
    assert default_tokenizer().encode("  a &amp;amp; b\n  &ldquo;c&rdquo; ") == plain


def test_decode_inverts_encode() -> None:
    ids = default_tokenizer().encode("hello world!")
    assert default_tokenizer().decode(ids) == "hello world ! "


def test_too_long_is_an_error_that_shows_the_text_or_is_cut() -> None:
    text = "word " * 100
    with pytest.raises(ValueError, match=r"102 tokens.*77.*word"):
        tokenize(text)
    cut = tokenize(text, truncate=True)[0]
    assert cut[-1] == 49407 and cut[0] == 49406


def test_words_for_people() -> None:
    tokenizer = default_tokenizer()
    ids = tokenizer.encode("a photo of antidisestablishmentarianism!")
    shown = [tokenizer.word(token) for token in ids]
    assert shown == ["a", "photo", "of", "anti…", "dise…", "stab…", "lish…", "ment…", "arianism", "!"]
    assert [tokenizer.word(token) for token in (49406, 49407)] == ["<|startoftext|>", "<|endoftext|>"]
    everything = [tokenizer.word(token) for token in range(49408)]
    assert all(word.isprintable() and word.strip() == word != "" for word in everything)
    ends = [token for token in range(49406) if tokenizer.decoder[token].endswith("</w>")]
    texts = {token: tokenizer.decode([token])[:-1] for token in ends}
    plain = [token for token, text in texts.items() if text.isascii() and text.isprintable() and text.strip()]
    assert len(plain) > 30000 and all(everything[token] == texts[token] for token in plain)


def test_golden_tokens(golden: Path) -> None:
    record = json.loads((golden / "rec/tokenizer.json").read_text())
    ids = np.load(golden / "rec/tokenizer.npz")["ids"]
    assert (tokenize(record["strings"], truncate=True).numpy() == ids).all()
    tokenizer = default_tokenizer()
    assert [tokenizer.encode(text) for text in record["strings"]] == record["encode"]
    assert [tokenizer.decode(codes) for codes in record["encode"]] == record["decode"]
    for index in record["overflow"]:
        with pytest.raises(ValueError, match="too long"):
            tokenize(record["strings"][index])
