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
    """What all networks have in common."""

    def __init__(
        self,
        weights: str | PathLike[str],
        *,
        device: str | None = None,
        precision: str = "f32",
        batch: int = 1,
    ) -> None:
        """Loads a network onto a GPU.

        weights: a safetensors file under timm's or torchvision's names.
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
class Detector(_Predictor):
    """A trained network that finds objects, with its pre-processing. Threads may share it.

    An object is the index and the name of its class, its score from 0 to 1, and the left, top, right and bottom edge of
    its box in pixels of the picture.
    """

    @property
    def classes(self) -> list[str]:
        """Names of the classes, of which the first is the background, which is never found; empty if unknown."""
    def detect(
        self, picture: NDArray[np.uint8], score: float = 0.5
    ) -> list[tuple[int, str, float, tuple[float, float, float, float]]]:
        """The objects in a picture [H, W, 3 or 4] with at least this score, 0.05 to 1, highest first."""
    def detect_all(
        self, pictures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]], score: float = 0.5
    ) -> list[list[tuple[int, str, float, tuple[float, float, float, float]]]]:
        """The objects in each of several pictures."""
    def outputs(self, x: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Outputs "logits" [N, A, K] and "boxes" [N, A, 4] of standardised pictures [N, 3, H, W], as of torchvision's head."""

@final
class Segmenter(_Predictor):
    """A trained network that tells the class of each pixel, with its pre-processing. Threads may share it."""

    @property
    def classes(self) -> list[str]:
        """Names of the classes; empty if unknown."""
    def segment(self, picture: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """The class of each pixel [H, W] of a picture [H, W, 3 or 4]; 65535 where a crop hides it from the network."""
    def segment_all(self, pictures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint16]]:
        """The classes of the pixels of each of several pictures."""
    def outputs(self, x: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Output "logits" [N, K, H, W] of standardised pictures [N, 3, H, W]: torchvision's "out"."""

@final
class DepthEstimator(_Predictor):
    """A trained network that tells the depth of each pixel, with its pre-processing. Threads may share it."""

    def estimate(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The depth of each pixel [H, W] of a picture [H, W, 3 or 4], metres; 0 where a crop hides it."""
    def estimate_all(self, pictures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """The depths of the pixels of each of several pictures."""
    def outputs(self, x: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Output "depth" [N, 1, H / 2, W / 2] of standardised pictures [N, 3, H, W], metres."""

@final
class Features(_Predictor):
    """A trained network up to its last map, with its pre-processing. Threads may share it."""

    def extract(self, picture: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        """The last maps [C, H, W] of strides 2, 4, 8, 16 and 32 for a picture of any size, as timm's features_only."""
    def extract_all(self, pictures: NDArray[np.uint8] | Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """The five maps [N, C, H, W] of several pictures, at least one."""
