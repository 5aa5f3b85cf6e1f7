"""A default that changes is noticed: hashes of settings leave out what is at its default.

`python -m tests.test_defaults` writes the record anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import train
from dassl.config import relevant_settings
from dassl.config.relevant import DEFAULTS_VERSION

RECORD = Path(__file__).with_name("defaults.json")


def test_no_default_has_changed_without_a_new_version() -> None:
    recorded, now = json.loads(RECORD.read_text()), relevant_settings(train.default_cfg())
    changed = {key for key, value in recorded["defaults"].items() if now.get(key, value) != value}
    assert not changed, "raise dassl.config.relevant.DEFAULTS_VERSION and write the record anew"
    assert recorded["version"] == DEFAULTS_VERSION, "write the record anew"
    assert len(recorded["defaults"]) > 100


if __name__ == "__main__":
    record = {"version": DEFAULTS_VERSION, "defaults": relevant_settings(train.default_cfg())}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")
