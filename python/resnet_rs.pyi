"""ResNet-RS on any Vulkan, Metal or DX12 GPU."""

from collections.abc import Sequence
from os import PathLike
from typing import final, type_check_only

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

__version__: str

class Error(Exception):
    """A failure of the library or the device; the message says what to do next."""

def devices() -> list[str]:
    """Names of all adapters, in the order of the numbers that `device` takes."""

def open_picture(path: str | PathLike[str]) -> NDArray[np.uint8]:
    """Pixels [H, W, 3] of a file: JPEG, PNG, WebP, GIF, BMP or TIFF, upright as its EXIF data or XMP say."""

@type_check_only
class _Predictor:
    """What Classifier and Features have in common."""

    def __init__(
        self,
        weights: str | PathLike[str],
        *,
        device: str | None = None,
        precision: str = "f32",
        batch: int = 1,
    ) -> None:
        """Loads a network onto a GPU.

        weights: a safetensors file under timm's names.
        device: number or part of the name of an adapter; the fastest if None.
        precision: "f32", or "f16" for maps and weights in half the memory.
        batch: pictures answered at a time.
        """
    @classmethod
    def from_hub(
        cls,
        repository: str,
        *,
        device: str | None = None,
        precision: str = "f32",
        batch: int = 1,
        offline: bool = False,
    ) -> Self:
        """Loads weights from the Hugging Face hub, "timm/resnetrs50.tf_in1k" for example, and downloads them once.

        The cache, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are those of huggingface_hub.
        """
    @property
    def device(self) -> str:
        """Name of the adapter."""
    @property
    def res(self) -> int:
        """Side of the network's input in pixels."""
    @property
    def crop_pct(self) -> float:
        """Share of the resized picture that the central crop keeps."""
    @property
    def interpolation(self) -> str:
        """The filter that resizes pictures, by timm's name: "bicubic" for example."""
    @property
    def crop_mode(self) -> str:
        """What is done to pictures that are no squares, by timm's name: "center", "squash" or "border"."""
    @property
    def mean(self) -> tuple[float, float, float]:
        """Mean of red, green and blue, on a scale from 0 to 1."""
    @property
    def std(self) -> tuple[float, float, float]:
        """Standard deviation of red, green and blue."""

@final
class Classifier(_Predictor):
    """A trained network with its pre-processing. Threads may share it."""

    @property
    def classes(self) -> list[str]:
        """Names of the classes; empty if unknown."""
    def classify(self, pictures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Probabilities [N, classes] of pictures [H, W, 3 or 4] of any size; [classes] for a single picture.

        Pictures are resized and cropped as timm does it.
        """
    def top(self, picture: NDArray[np.uint8], k: int = 5) -> list[tuple[int, str, float]]:
        """Index, name and probability of the k likeliest classes, likeliest first."""
    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits [N, classes] of standardised pictures [N, 3, H, W]: what timm's model returns for them."""

@final
class Features(_Predictor):
    """A trained network up to its last map, with its pre-processing. Threads may share it."""

    def extract(self, picture: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The last maps [C, H, W] of strides 2, 4, 8, 16 and 32 for a picture of any size, as timm's features_only."""
    def extract_all(self, pictures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """The five maps [N, C, H, W] of several pictures, at least one."""
