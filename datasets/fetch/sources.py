"""Where the files of the data sets come from."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

GUIDE = "https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md"


@dataclass(frozen=True)
class Source:
    """One file to download.

    Attributes:
        urls: its addresses, tried in this order.
        files: what to keep of it: path inside of the archive -> path under the data set's folder. The path
            "" is the download itself.
        checksum: of the download, as "md5:..." or "sha256:..."; "": not known.
        inner: an archive inside of the archive, of which ``files`` are then parts.
        anywhere: ``files`` may lie in any folder of the archive; of several the one nearest to its top.
    """

    urls: tuple[str, ...]
    files: Mapping[str, str]
    checksum: str = ""
    inner: str = ""
    anywhere: bool = False

    @property
    def is_archive(self) -> bool:
        """Whether ``files`` are parts of the download, not the download itself."""
        return "" not in self.files


_DRIVE = "https://drive.google.com/file/d/"


def drive(file_id: str) -> str:
    """Address of a public file on Google Drive: of its page, for browsers, and understood by gdown."""
    return f"{_DRIVE}{file_id}/view"


def is_on_drive(url: str) -> bool:
    """Whether an address is one of `drive`."""
    return url.startswith(_DRIVE)


def on_drive(file_id: str, name: str, sha256: str = "") -> Source:
    """A plain file of upstream's, such as a split file."""
    return Source((drive(file_id),), {"": name}, f"sha256:{sha256}" if sha256 else "")


# Archives of all data sets but ImageNet, with upstream's split files, on Hugging Face, in a repository of the
# kind that models are in. The first revision is the one whose file names are known.
MIRROR = "zhengli97/prompt_learning_dataset"
_REVISIONS = ("ceb3112337fb6e1bf71534e355ca5569b63f19a6", "main")


def on_mirror(archive: str, files: Iterable[str]) -> Source:
    """Parts of an archive on the mirror. HF_ENDPOINT names another host, as for Hugging Face's clients."""
    host = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
    urls = tuple(f"{host}/{MIRROR}/resolve/{revision}/{archive}" for revision in _REVISIONS)
    return Source(urls, {name: name for name in files}, anywhere=True)


IMAGENET_CLASSNAMES = on_drive(
    "1-61f_ol79pViBFDG_IDlUQSwoLcn2XXF",
    "classnames.txt",
    "78684abbf734315f426c8b0cfdf3b2f989abcb3f66cfd321bca6241312a7a03a",
)
