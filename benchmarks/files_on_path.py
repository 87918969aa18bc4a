"""How many files of seqlab does a short training go through?

    python benchmarks/files_on_path.py [--list]

Trains `translate` for three updates on 60 made-up pairs, in this process, and counts the files of the package with a
function that was called after all imports.
"""

import sys
import threading
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import seqlab
from seqlab import cli

PACKAGE = str(Path(seqlab.__file__).parent) + "/"
SETTINGS = (
    *("data.source=en", "data.target=fr", "data.validation_size=10", "data.test_size=10"),
    *("train.max_steps=3", "train.evaluate_every=2", "train.precision=fp32", "train.trackers=[]"),
)


def main() -> None:
    called: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and is_source(file) and file not in called and not is_import(frame):
            called.add(file)

    with TemporaryDirectory() as folder:
        pairs = Path(folder) / "pairs.tsv"
        pairs.write_text("en\tfr\n" + "".join(f"a dog number {n}\tun chien {n}\n" for n in range(60)))
        listed, sys.argv = "--list" in sys.argv, ["seqlab", "train", "translate", f"data.train={pairs}", *SETTINGS]
        sys.argv += ["--out", str(Path(folder) / "run")]
        threading.setprofile(note)
        sys.setprofile(note)
        try:
            cli.main()
        except SystemExit as end:
            if end.code:
                raise
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    if listed:
        print("\n".join(sorted(file.removeprefix(PACKAGE) for file in called)))
    print(f"{len(called)} of {len(list(Path(PACKAGE).rglob('*.py')))} files")


def is_source(file: str) -> bool:
    """Whether it is a module of the package; a template of Jinja is compiled, too."""
    return file.startswith(PACKAGE) and file.endswith(".py")


def is_import(frame: FrameType | None) -> bool:
    """Whether a module is being imported where the call comes from."""
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_code.co_filename.startswith(PACKAGE):
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    main()
