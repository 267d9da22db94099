"""Archives made in memory, and what is in them, for the tests of unpacking and of downloads."""

import io
import tarfile
import zipfile

PICTURE = bytes(range(256)) * 2000
MVTEC = {"bottle/train/good/000.png": PICTURE, "bottle/test/good/000.png": b"test", "license.txt": b"terms"}
BTAD = {f"BTech_Dataset_transformed/{k}/train/ok/0.bmp": PICTURE for k in ("01", "02", "03")} | {"README.txt": b"terms"}
CIFAR10 = {"cifar-10-batches-py/data_batch_1": PICTURE}


def tar(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz", preset=0) as bundle:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            bundle.addfile(entry, io.BytesIO(content))
        for entry in more:
            bundle.addfile(entry)
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, content in files.items():
            bundle.writestr(zipfile.ZipInfo(name), content)  # without the time of day: the same bytes every time
    return buffer.getvalue()
