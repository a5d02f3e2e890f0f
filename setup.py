"""Packaging of segpipe: the two rooms that live beside the package are installed inside it."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "segpipe/__init__.py").read_text(encoding="utf-8"))[1]

# Top-level folders that are imported as parts of segpipe, so that a user's own `trainers/` never shadows ours.
ROOMS = {"segpipe.configuration": "configuration", "segpipe.trainers": "trainers"}
PACKAGES = [
    *find_packages(include=["segpipe", "segpipe.*"]),
    *ROOMS,
    *(f"{room}.{package}" for room, folder in ROOMS.items() for package in find_packages(folder)),
]

CORE = [
    "torch>=2.10",  # older ones open pickles unsafely even with weights_only: CVE-2026-24747
    "numpy>=1.24",
    "opencv-python>=4.8",
    "pillow>=10.1",
    "requests>=2.32.2",
    "filelock>=3.12",
    "safetensors>=0.4.3",
    "tqdm>=4.65",
    "msgspec>=0.18.6",
    "pyyaml>=6.0",
    "matplotlib>=3.8",
]
ONNX = ["onnx>=1.17", "onnxscript>=0.2", "onnxruntime>=1.20"]
EXTRAS = {
    "mat": ["scipy>=1.11"],
    "tensorboard": ["tensorboard>=2.10"],
    "huggingface": ["huggingface_hub>=1.0"],
    "modelscope": ["modelscope_hub>=0.4.6"],  # by which the package `modelscope` talks to its hub
    "onnx": ONNX,
    "openvino": ["openvino>=2024.5", *ONNX[:2]],
    "test": ["pytest>=7.4", "hypothesis>=6.100", "scipy>=1.11", "tifffile>=2023.4.12", "ruff>=0.6", "mypy>=1.11"],
}

setup(
    name="segpipe",
    version=VERSION,
    description="Semantic segmentation: from a model's id and an image's URL to its label map",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    package_dir=ROOMS,
    packages=PACKAGES,
    package_data={
        "segpipe": ["py.typed"],
        "segpipe.configuration": ["presets/*.json"],
        "segpipe.data.datasets": ["label_sets/*.json"],
        "segpipe.hub": ["bundled/*.safetensors"],
    },
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["segpipe=segpipe.cli.main:main"]},
)
