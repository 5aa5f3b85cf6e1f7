"""Steps on a GPU, held against the CPU's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.gpu
Build = Callable[..., Any]


def after_a_step(trainer: Any) -> tuple[float, torch.Tensor, torch.Tensor]:
    """Loss of a step, context behind it, and logits of the test images."""
    with torch.no_grad():  # random numbers of a device are its own
        generator = torch.Generator().manual_seed(0)
        context = trainer.model.prompt_learner.ctx
        context.copy_(0.02 * torch.randn(context.shape, generator=generator))
    trainer.prepare()
    trainer.before_epoch()
    trainer.set_model_mode("train")
    trainer.num_batches = len(trainer.train_loader_x)
    loader = trainer.dm.build_test_loader(trainer.dm.dataset.train_x)
    summary = trainer.forward_backward(next(iter(loader)))
    trainer.start_test("test")
    with torch.no_grad():
        images, _ = trainer.parse_batch_test(next(iter(trainer.test_loader)))
        logits = trainer.model_inference(images)
    return float(summary["loss"]), context.detach().cpu(), logits.cpu()


def test_a_step_in_fp16_is_the_one_of_the_cpu_in_fp32(build: Build, tmp_path: Path) -> None:
    words = ("TRAINER.COOP.N_CTX", "4", "OPTIM.LR", "0.1", "OPTIM.WARMUP_EPOCH", "-1", "TRAINER.COOP.PREC")
    exact = build("CoOp", *words, "fp32", "USE_CUDA", "False", output=tmp_path / "cpu")
    half = build("CoOp", *words, "fp16", output=tmp_path / "gpu")
    assert exact.device.type == "cpu" and half.device.type == "cuda"
    assert half.precision.name == "fp16" and half.model.prompt_learner.ctx.is_cuda
    start = exact.model.prompt_learner.ctx.shape
    loss, context, logits = after_a_step(exact)
    loss_half, context_half, logits_half = after_a_step(half)
    assert context.shape == start and context_half.dtype == torch.float32
    assert loss_half == pytest.approx(loss, rel=2e-2)
    torch.testing.assert_close(logits_half, logits, atol=0.1, rtol=1e-2)
    generator = torch.Generator().manual_seed(0)
    before = 0.02 * torch.randn(context.shape, generator=generator)
    moved, moved_half = context - before, context_half - before
    assert moved.norm() > 0
    cosine = torch.nn.functional.cosine_similarity(moved.flatten(), moved_half.flatten(), dim=0)
    assert cosine > 0.99 and moved_half.norm() == pytest.approx(moved.norm().item(), rel=0.05)


def test_a_step_in_amp_bf16_is_finite(build: Build) -> None:
    if not torch.cuda.is_bf16_supported():
        pytest.skip("this GPU has no bf16")
    trainer = build("CoOp", "TRAINER.COOP.N_CTX", "4", "TRAINER.COOP.PREC", "amp_bf16")
    loss, context, logits = after_a_step(trainer)
    assert trainer.precision.name == "amp_bf16" and trainer.scaler is None
    assert torch.tensor(loss).isfinite() and context.isfinite().all() and logits.isfinite().all()
    assert context.dtype == logits.dtype == torch.float32
