"""Orders in which the images of a data set are visited."""

from __future__ import annotations

from collections.abc import Sequence

from torch.utils.data import RandomSampler, Sampler, SequentialSampler

from dassl.config import CfgNode
from dassl.config.allowed import SAMPLERS
from dassl.data.compat import RandomClassSampler, RandomDomainSampler, SeqDomainSampler
from dassl.data.datasets.base_dataset import Datum
from dassl.utils.registry import check_availability

__all__ = [
    "AVAI_SAMPLERS",
    "RandomClassSampler",
    "RandomDomainSampler",
    "SeqDomainSampler",
    "build_sampler",
]

AVAI_SAMPLERS = list(SAMPLERS)


def build_sampler(
    sampler_type: str,
    cfg: CfgNode | None = None,
    data_source: Sequence[Datum] | None = None,
    batch_size: int = 32,
    n_domain: int = 0,
    n_ins: int = 16,
) -> Sampler[int]:
    """The sampler called ``sampler_type`` over ``data_source``.

    Raises:
        ValueError: the name is unknown, or the data does not allow the batches asked for.
    """
    check_availability(sampler_type, AVAI_SAMPLERS)
    assert data_source is not None
    if sampler_type == "RandomSampler":
        return RandomSampler(data_source)
    if sampler_type == "SequentialSampler":
        return SequentialSampler(data_source)
    if sampler_type == "RandomDomainSampler":
        return RandomDomainSampler(data_source, batch_size, n_domain)
    if sampler_type == "SeqDomainSampler":
        return SeqDomainSampler(data_source, batch_size, n_domain)
    return RandomClassSampler(data_source, batch_size, n_ins)
