"""What the tests share: weights and pictures made from their names by synth.py, which lies beside the golden files."""

import os
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ORACLE = ROOT.parent / "shared" / "oracle"
GOLDEN = ORACLE / "golden"

# The program; RESNET_RS names another.
PROGRAM = os.environ.get("RESNET_RS", ROOT / "target" / "release" / "resnet-rs")

sys.path[:0] = [str(ORACLE), str(pathlib.Path(__file__).parent)]

if not ORACLE.exists():
    pytest.skip(f"there are no golden files in {ORACLE}", allow_module_level=True)
