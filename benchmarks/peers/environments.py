"""The virtual environment of each toolkit. torch comes first, so that no toolkit brings a build for GPUs along."""

import subprocess
import sys
from pathlib import Path

TORCH = ["torch==2.13.0"]
INSTALLS = {
    "joeynmt": [TORCH, ["joeynmt==2.3.0", "sentencepiece==0.2.0", "importlib_metadata", "setuptools<81"]],
    "transformers": [TORCH, ["transformers==5.23.0", "accelerate==1.15.0", "datasets==5.2.0"]],
    # Eole wants torch < 2.12, and speech and language packages that text does not use: hence its needs by name.
    "eole": [
        TORCH,
        ["--no-deps", "eole==0.5.3"],
        ["configargparse", "ctranslate2<5", "datasets", "fastapi", "pandas", "pyahocorasick", "pydantic"],
        ["pyonmttok", "pyyaml", "rapidfuzz", "rich", "sacrebleu", "safetensors", "sentencepiece==0.2.1", "six"],
        ["subword-nmt", "tensorboard", "tokenizers", "torch-optimi", "uvicorn", "waitress"],
    ],
}


def python_of(toolkit: str, folder: Path) -> Path:
    """The interpreter that a contender runs with; its environment is made if it is not there."""
    if toolkit == "seqlab":
        return Path(sys.executable)
    environment, done = folder / toolkit, folder / toolkit / "complete"
    python = environment / "bin" / "python"
    if not done.exists():
        print(f"making the environment of {toolkit}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
        for packages in INSTALLS[toolkit]:
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        done.touch()
    return python
