"""The pretraining script's parts; the run itself takes half an hour and is not repeated here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from clip import tokenize
from demo.captions import vocabulary_texts
from demo.pretrain import (
    AttributeHeads,
    CompactVocabulary,
    Pretraining,
    contrastive_loss,
    difficulty,
    learning_rate,
    save_compressed,
)
from demo.render import ATTRIBUTES, Batch


def test_with_one_positive_each_the_loss_is_clips() -> None:
    torch.manual_seed(0)
    logits = torch.randn(5, 5)
    labels = torch.arange(5)
    expected = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)) / 2
    assert torch.allclose(contrastive_loss(logits, torch.eye(5, dtype=torch.bool)), expected)


def test_two_positives_share_the_target_and_undescribed_images_are_negatives() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.5, 3.0], [0.0, -1.0]])
    positive = torch.tensor([[True, False], [True, True], [False, False]])
    by_row, by_column = logits.log_softmax(1), logits.log_softmax(0)
    by_image = -(by_row[0, 0] + (by_row[1, 0] + by_row[1, 1]) / 2) / 2
    by_caption = -((by_column[0, 0] + by_column[1, 0]) / 2 + by_column[1, 1]) / 2
    assert torch.allclose(contrastive_loss(logits, positive), (by_image + by_caption) / 2)


def test_compact_vocabulary_keeps_order_and_expands_back() -> None:
    vocabulary = CompactVocabulary(vocabulary_texts())
    texts = ["a photo of a letter k.", "itap of a handwritten digit three on a dotted blue background"]
    ids, original = vocabulary.encode(texts), tokenize(texts)
    assert torch.equal(vocabulary.used[ids], original)
    assert torch.equal(ids.argmax(1), original.argmax(1))  # end of text still is the largest
    embedding = torch.randn(len(vocabulary), 4)
    full = vocabulary.expand(embedding)
    assert torch.equal(full[original], embedding[ids])
    assert int(full.any(dim=1).sum()) == len(vocabulary)


def test_unknown_attributes_do_not_count() -> None:
    torch.manual_seed(0)
    heads = AttributeHeads(8)
    features = torch.randn(4, 8)
    known = torch.zeros(4, len(ATTRIBUTES), dtype=torch.long)
    partly = known.clone()
    partly[2:, 1] = -1
    assert not torch.equal(heads.loss(features, known), heads.loss(features, partly))
    assert heads.loss(features, partly).isfinite()


def test_a_step_reaches_both_towers_and_the_state_is_clips() -> None:
    torch.manual_seed(0)
    job = Pretraining(seed=0)
    shown = torch.zeros(6, len(ATTRIBUTES), dtype=torch.long)
    shown[:, 0] = torch.arange(6)
    job.loss(Batch(torch.rand(6, 3, 32, 32), shown), captions=4).backward()
    for name in ("visual.conv1.weight", "token_embedding.weight", "text_projection", "logit_scale"):
        assert job.model.get_parameter(name).grad is not None, name
    state = job.state_dict()
    assert state["token_embedding.weight"].shape[0] == 49408
    marks = {name: int(state.pop(name)) for name in ("input_resolution", "context_length", "vocab_size")}
    assert marks == {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}
    assert {value.dtype for value in state.values()} == {torch.float16}


def test_saved_file_is_small_whole_and_the_same_each_time(tmp_path: Path) -> None:
    state = {"rows": torch.zeros(20000, 64), "weights": torch.randn(30, 30)}
    for name in ("one.pt", "two.pt"):
        save_compressed(state, tmp_path / name)
    loaded = torch.load(tmp_path / "one.pt", weights_only=True)
    assert all(torch.equal(loaded[key], state[key]) for key in state)
    assert (tmp_path / "one.pt").stat().st_size < 50_000
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.pt", "two.pt"]
    assert (tmp_path / "one.pt").read_bytes() == (tmp_path / "two.pt").read_bytes()


def test_schedules() -> None:
    rates = [learning_rate(step, 1000, 1e-3) for step in range(1000)]
    assert max(rates) == pytest.approx(1e-3)
    assert rates[0] < 1e-4
    assert rates[-1] == pytest.approx(1e-5, rel=0.01)
    hardness = [difficulty(step, 1000) for step in range(1000)]
    assert hardness == sorted(hardness)
    assert (hardness[0], hardness[-1]) == (0.0, 1.0)
