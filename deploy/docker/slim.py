# SPDX-License-Identifier: Apache-2.0
"""Take out of an environment what no program reads: C sources, and the symbols for debuggers in compiled modules.

Wheels bring 80 MB of both, a third of the image. `strip` would do the second, but it comes with a compiler's tools, which the
base image has not. To load a module the loader reads what its program headers name, and nothing else (ELF-64, figure 2-1 of
the System V ABI); sections lie behind that, and are cut off together with the table that names them.
"""

import struct
import sys
from pathlib import Path

SOURCES = {".c", ".cpp", ".h", ".pxd", ".pyx"}
HEADER = struct.Struct("<16sHHIQQQIHHHHHH")  # Elf64_Ehdr, little-endian
SEGMENT = struct.Struct("<IIQQQQQQ")  # Elf64_Phdr
MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian: amd64 and arm64


def stripped(module: bytes) -> bytes:
    """The module as far as its program headers reach, with a header that says that there are no sections."""
    head = list(HEADER.unpack_from(module))
    table, size, count = head[5], head[9], head[10]
    segments = [SEGMENT.unpack_from(module, table + number * size) for number in range(count)]
    end = max([table + size * count, *(offset + held for _, _, offset, _, _, held, _, _ in segments)])
    head[6] = head[12] = head[13] = 0
    return HEADER.pack(*head) + module[HEADER.size : end]


def slim(folder: Path) -> int:
    """Take it out of all that lies under the folder; answers the bytes."""
    freed = 0
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        if path.suffix in SOURCES:
            freed += path.stat().st_size
            path.unlink()
        elif ".so" in path.suffixes and (module := path.read_bytes()).startswith(MAGIC):
            kept = stripped(module)
            path.write_bytes(kept)
            freed += len(module) - len(kept)
    return freed


if __name__ == "__main__":
    sys.stdout.write(f"took out {slim(Path(sys.argv[1])) / 1e6:.0f} MB of C sources and symbols\n")
