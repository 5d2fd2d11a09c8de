"""Writes odd but legal picture files, and beside each a PNG of the pixels that Pillow (libjpeg-turbo, libtiff) reads,
upright and as RGB: `python make_pictures.py`, with numpy 1.26 and Pillow 13.0."""

import io
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

OUT = pathlib.Path(__file__).parent / "pictures"
WIDTH, HEIGHT = 21, 19


def picture(width=WIDTH, height=HEIGHT):
    """Strong colours, no symmetry, and an edge at every border."""
    y, x = np.mgrid[0:height, 0:width]
    noise = np.random.default_rng(0).integers(-20, 20, (height, width, 3))
    rgb = np.stack([40 + 9 * x, 60 + 8 * y, 210 - 5 * (x + y)], -1) + noise
    rgb[(x + 2 * y) % 13 == 0] = (230, 40, 60)
    rgb[:, -1] = (20, 240, 30)
    rgb[-1, :] = (10, 30, 250)
    return np.clip(rgb, 0, 255).astype(np.uint8)


def ycc(rgb):
    return [np.asarray(plane) for plane in Image.fromarray(rgb).convert("YCbCr").split()]


# A JPEG writer for what Pillow does not write: any sampling, scans, restarts, markers.
ZIGZAG = sorted(range(64), key=lambda i: (i // 8 + i % 8, (i // 8 if (i // 8 + i % 8) % 2 else i % 8)))
COSINES = np.array(
    [[np.sqrt((1 if k == 0 else 2) / 8) * np.cos((2 * n + 1) * k * np.pi / 16) for n in range(8)] for k in range(8)]
)
# One Huffman code of 8 bits for each symbol; the first twelve are those of DC.
SYMBOLS = [run << 4 | size for run in range(16) for size in range(15 if run else 12)]
CODES = {symbol: code for code, symbol in enumerate(SYMBOLS)}


def segment(marker, content):
    return struct.pack(">BBH", 255, marker, len(content) + 2) + content


def huffman(kind):
    symbols = SYMBOLS if kind >> 4 else SYMBOLS[:12]
    return segment(0xC4, bytes([kind]) + bytes([0] * 7 + [len(symbols)] + [0] * 8) + bytes(symbols))


class Bits:
    def __init__(self):
        self.text = ""

    def symbol(self, symbol, value=None):
        self.text += f"{CODES[symbol]:08b}"
        size = int(abs(value)).bit_length() if value else 0
        if size:
            self.text += f"{value if value > 0 else value + (1 << size) - 1:0{size}b}"

    def block(self, zigzag, previous):
        difference = int(zigzag[0]) - previous
        self.symbol(int(abs(difference)).bit_length(), difference)
        run = 0
        for value in map(int, zigzag[1 : max([0, *np.flatnonzero(zigzag)]) + 1]):
            if value == 0:
                run += 1
                continue
            while run > 15:
                self.symbol(0xF0)
                run -= 16
            self.symbol(run << 4 | abs(value).bit_length(), value)
            run = 0
        if zigzag[63] == 0:
            self.symbol(0)
        return int(zigzag[0])

    def flush(self):
        text = self.text + "1" * (-len(self.text) % 8)
        self.text = ""
        return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8)).replace(b"\xff", b"\xff\0")


def jpeg(planes, factors, ids=(1, 2, 3, 4), scans=None, restart=0, jfif=True, adobe=None, adobe_late=False, deep=False,
         fill=0, eoi=True, redefine=False, sof=0xC0):
    height, width = planes[0].shape
    across, down = max(h for h, _ in factors), max(v for _, v in factors)
    units, rows = -(-width // (8 * across)), -(-height // (8 * down))
    step, blocks, own = 6, [], []
    for plane, (h, v) in zip(planes, factors):
        wide, high = -(-width * h // across), -(-height * v // down)
        samples = np.asarray(Image.fromarray(plane).resize((wide, high), Image.Resampling.BOX)).astype(float)
        mode = "reflect" if min(wide, high) > 16 else "edge"
        samples = np.pad(samples, ((0, rows * v * 8 - high), (0, units * h * 8 - wide)), mode=mode)
        tiles = (samples - 128).reshape(rows * v, 8, units * h, 8).transpose(0, 2, 1, 3)
        levels = np.rint(np.einsum("ij,abjk,lk->abil", COSINES, tiles, COSINES) / step).astype(int)
        blocks.append(levels.reshape(rows * v, units * h, 64)[:, :, ZIGZAG])
        own.append((-(-wide // 8), -(-high // 8)))
    out = b"\xff\xd8" + (segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0") if jfif else b"")
    marker = segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([adobe])) if adobe is not None else b""
    out += b"" if adobe_late else marker
    out += segment(0xDB, b"\x10" + struct.pack(">64H", *[step] * 64) if deep else b"\0" + bytes([step] * 64))
    components = b"".join(bytes([i, h << 4 | v, 0]) for i, (h, v) in zip(ids, factors))
    out += segment(sof, struct.pack(">BHHB", 8, height, width, len(planes)) + components)
    out += marker if adobe_late else b""
    out += b"" if redefine else huffman(0) + huffman(16)
    out += segment(0xDD, struct.pack(">H", restart)) if restart else b""
    for number, scan in enumerate(scans or [range(len(planes))]):
        if redefine:
            out += huffman(number % 2) + huffman(16 | number % 2)
        tables = (number % 2) * 17 if redefine else 0
        selectors = b"".join(bytes([ids[c], tables]) for c in scan)
        out += b"\xff" * fill + segment(0xDA, bytes([len(scan)]) + selectors + b"\0\x3f\0")
        if len(scan) == 1:
            order = [[(scan[0], y, x)] for y in range(own[scan[0]][1]) for x in range(own[scan[0]][0])]
        else:
            order = [[(c, y * factors[c][1] + j, x * factors[c][0] + i)
                      for c in scan for j in range(factors[c][1]) for i in range(factors[c][0])]
                     for y in range(rows) for x in range(units)]
        bits, previous = Bits(), [0] * 4
        for at, unit in enumerate(order):
            if restart and at and at % restart == 0:
                out += bits.flush() + bytes([255, 0xD0 + (at // restart - 1) % 8])
                previous = [0] * 4
            for c, y, x in unit:
                previous[c] = bits.block(blocks[c][y, x], previous[c])
        out += bits.flush()
    return out + (b"\xff\xd9" if eoi else b"")


def saved(image, form, **options):
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def tiff(tags, data):
    """A TIFF of one strip or tile after the directory's tags: {tag: (struct's letter, values)}."""
    tags = {256: ("I", [WIDTH]), 257: ("I", [HEIGHT]), 259: ("H", [1]), 278: ("I", [HEIGHT]), **tags}
    place = 8 + 2 + 12 * (len(tags) + 2) + 4
    tags |= {324 if 322 in tags else 273: ("I", [place]), 325 if 322 in tags else 279: ("I", [len(data)])}
    entries = b""
    for tag, (letter, values) in sorted(tags.items()):
        value = struct.pack(f">{len(values)}{letter}", *values)
        if len(value) > 4:
            value, data = struct.pack(">I", place + len(data)), data + value
        entries += struct.pack(">HHI", tag, {"H": 3, "I": 4}[letter], len(values)) + value.ljust(4, b"\0")
    return b"MM\0\x2a\0\0\0\x08" + struct.pack(">H", len(tags)) + entries + b"\0" * 4 + data


def gif(canvas, frame, transparent=None, interlaced=False):
    """A GIF whose picture is smaller than its canvas, coded without compression."""
    colours = np.random.default_rng(1).integers(0, 256, 48 * 8, dtype=np.uint8).tobytes()
    left, top, width, height = frame
    indices = np.random.default_rng(2).integers(0, 128, width * height)
    codes = [code for index in indices for code in (128, int(index))] + [129]
    text = "".join(f"{code:08b}"[::-1] for code in codes)
    data = bytes(int(text[i : i + 8][::-1], 2) for i in range(0, len(text), 8))
    control = b"" if transparent is None else b"!\xf9\4\1\0\0" + bytes([transparent]) + b"\0"
    image = b"," + struct.pack("<HHHHB", left, top, width, height, 64 * interlaced)
    parts = b"".join(bytes([len(data[i : i + 255])]) + data[i : i + 255] for i in range(0, len(data), 255))
    return b"GIF89a" + struct.pack("<HHBBB", *canvas, 0xF6, 5, 0) + colours + control + image + b"\7" + parts + b"\0;"


def bmp(bits, rows, palette=b"", compression=0, masks=b"", height=HEIGHT):
    head = struct.pack("<IiiHHIIiiII", 40, WIDTH, height, 1, bits, compression, len(rows), 0, 0, len(palette) // 4, 0)
    start = 14 + len(head + masks + palette)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + head + masks + palette + rows


def main():
    rgb = picture()
    image, planes = Image.fromarray(rgb), ycc(rgb)
    colours = [np.ascontiguousarray(rgb[..., i]) for i in range(3)]
    inks = [*colours, 255 - rgb.max(-1) // 2]
    full, half = [(1, 1)] * 3, [(2, 2), (1, 1), (1, 1)]
    indices = np.asarray(image.quantize(16))
    palette = np.array(image.quantize(16).getpalette()).reshape(-1, 3)
    shades = np.vstack([palette, np.zeros((256 - len(palette), 3), int)])
    red, green, blue = (rgb[..., i].astype("<u2") for i in range(3))
    rows16 = (red >> 3) << 11 | (green >> 2) << 5 | blue >> 3
    runs = b"".join(b"".join(bytes([1, i]) for i in row) + b"\0\0" for row in indices[::-1]) + b"\0\1"
    tile = np.zeros((32, 32, 3), np.uint8)
    tile[:HEIGHT, :WIDTH] = rgb
    padded = lambda row: row + b"\0" * (-len(row) % 4)
    pixels16 = b"".join(padded(row.tobytes()) for row in rows16)
    masks16 = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    thumbnail = segment(0xE1, saved(image.resize((8, 8)), "JPEG"))
    colour_map = [257 * int(v) for v in shades.T.ravel()]
    progressive = dict(quality=90, progressive=True)
    files = {
        "interleaved-420.jpg": jpeg(planes, half),
        "interleaved-422.jpg": jpeg(planes, [(2, 1), (1, 1), (1, 1)]),
        "interleaved-440.jpg": jpeg(planes, [(1, 2), (1, 1), (1, 1)]),
        "interleaved-411.jpg": jpeg(planes, [(4, 1), (1, 1), (1, 1)]),
        "interleaved-3x1.jpg": jpeg(planes, [(3, 1), (1, 1), (1, 1)]),
        "finer-colours.jpg": jpeg(planes, [(1, 1), (2, 2), (2, 1)]),
        "narrow-420.jpg": jpeg(ycc(picture(4, 35)), half),
        "one-pixel-420.jpg": jpeg(ycc(picture(1, 1)), half),
        "scans-444.jpg": jpeg(planes, full, scans=[[0], [1], [2]]),
        "scans-420-last-first.jpg": jpeg(planes, half, scans=[[2], [1], [0]], redefine=True),
        "scans-grouped-422.jpg": jpeg(planes, [(2, 1), (1, 1), (1, 1)], scans=[[1, 2], [0]]),
        "scans-restarts-444.jpg": jpeg(planes, full, scans=[[0], [1], [2]], restart=2),
        "restarts-420.jpg": jpeg(planes, half, restart=1),
        "jfif-adobe-0.jpg": jpeg(planes, full, adobe=0),
        "adobe-0.jpg": jpeg(colours, full, jfif=False, adobe=0),
        "adobe-0-late.jpg": jpeg(colours, full, jfif=False, adobe=0, adobe_late=True),
        "adobe-2-of-three.jpg": jpeg(planes, full, jfif=False, adobe=2),
        "ids-rgb.jpg": jpeg(colours, full, jfif=False, ids=b"RGB"),
        "ids-012.jpg": jpeg(planes, full, jfif=False, ids=(0, 1, 2)),
        "grey-2x2.jpg": jpeg(planes[:1], [(2, 2)]),
        "cmyk.jpg": jpeg(inks, [(1, 1)] * 4, jfif=False, adobe=0),
        "ycck.jpg": jpeg(ycc(255 - rgb) + inks[3:], [(2, 2), (1, 1), (1, 1), (2, 2)], jfif=False, adobe=2),
        "deep-tables.jpg": jpeg(planes, half, deep=True, sof=0xC1),
        "fill-bytes.jpg": jpeg(planes, half, fill=5),
        "no-end.jpg": jpeg(planes, half, eoi=False) + b"\0" * 40,
        "thumbnail.jpg": b"\xff\xd8" + thumbnail + jpeg(planes, half)[2:] + b"behind the end",
        "progressive-420.jpg": saved(image, "JPEG", subsampling=2, **progressive),
        "progressive-tall.jpg": saved(Image.fromarray(picture(5, 90)), "JPEG", subsampling=2, **progressive),
        "progressive-restarts.jpg": saved(image, "JPEG", subsampling=1, restart_marker_blocks=1, **progressive),
        "frame.gif": gif((20, 15), (3, 2, 11, 9)),
        "frame-transparent.gif": gif((20, 15), (3, 2, 11, 9), transparent=7),
        "frame-beyond.gif": gif((10, 10), (4, 5, 11, 9), interlaced=True),
        "palette.tif": tiff(
            {258: ("H", [8]), 262: ("H", [3]), 277: ("H", [1]), 320: ("H", colour_map)}, indices.tobytes()
        ),
        "inks.tif": tiff(
            {258: ("H", [8] * 4), 262: ("H", [5]), 277: ("H", [4])},
            np.dstack([255 - rgb, rgb[..., :1] // 9]).tobytes(),
        ),
        "deep.tif": tiff(
            {258: ("H", [16] * 3), 262: ("H", [2]), 277: ("H", [3]), 274: ("H", [6])},
            (rgb.astype(">u2") * 256 + 240).tobytes(),
        ),
        "white-is-zero.tif": tiff({258: ("H", [8]), 262: ("H", [0]), 277: ("H", [1])}, rgb[..., 0].tobytes()),
        "alpha-multiplied.tif": tiff(
            {258: ("H", [8] * 4), 262: ("H", [2]), 277: ("H", [4]), 338: ("H", [1])},
            np.dstack([rgb // 2, rgb[..., :1]]).tobytes(),
        ),
        "tile.tif": tiff(
            {258: ("H", [8] * 3), 262: ("H", [2]), 277: ("H", [3]), 259: ("H", [8]),
             322: ("I", [32]), 323: ("I", [32])},
            zlib.compress(tile.tobytes()),
        ),
        "lzw.tif": saved(image, "TIFF", compression="tiff_lzw", tiffinfo={317: 2}),
        "packbits.tif": saved(image.convert("L"), "TIFF", compression="packbits"),
        "big.tif": saved(image, "TIFF", big_tiff=True, tiffinfo={274: 3}),
        "runs.bmp": bmp(8, runs, b"".join(bytes([*map(int, c[::-1]), 0]) for c in palette), 1),
        "565.bmp": bmp(16, pixels16, compression=3, masks=masks16, height=-HEIGHT),
    }
    for name, content in files.items():
        (OUT / name).write_bytes(content)
        seen = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
        seen.save(OUT / f"{name}.png", optimize=True)


main()
