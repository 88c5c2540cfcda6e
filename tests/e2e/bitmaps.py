"""Pictures that are made pixel by pixel."""

import struct


def bmp(width, height, rows):
    """24 bits, from the bottom row up; rows of (r, g, b)."""
    data = b""
    for row in reversed(rows):
        line = b"".join(bytes((b, g, r)) for r, g, b in row)
        data += line + bytes(-len(line) % 4)
    head = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(data), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, 54) + head + data


def rows_of(width, height):
    """Nothing in it is like its mirror image."""
    return [[(x * 255 // width, y * 255 // height, x * y * 255 // (width * height)) for x in range(width)] for y in range(height)]
