"""What the tests share: the golden files, and synth.py beside them, which makes weights and pictures from names."""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"

# The program; RESNET_RS names another.
PROGRAM = os.environ.get("RESNET_RS", ROOT / "target" / "release" / "resnet-rs")

sys.path[:0] = [str(GOLDEN), str(pathlib.Path(__file__).parent)]
