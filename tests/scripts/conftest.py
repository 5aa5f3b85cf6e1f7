"""Fixtures of the scripts' tests."""

from __future__ import annotations

import pytest

from tests.scripts.checkout import Checkout


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    return Checkout(tmp_path)
