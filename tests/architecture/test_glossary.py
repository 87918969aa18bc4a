"""One word a concept, and it is the field's: former names and phrases do not come back."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

NAMES = {
    r"work_off": "run_queue",
    r"[Ee]xhibits?": "artifact",
    r"from_leader": "run_on_main",
    r"Together": "CompositeOptimizer",
    r"Startable": "PretrainedSettings",
    r"expect_frequencies": "init_output_bias",
    r"Dealt": "Interleaved",
    r"made_of_it": "derived_cache_dir",
    r"Ground": "BaseConfig",
    r"usual_sentences": "max_sentences_p99",
    r"by-corpus": "auto_size",
    r"follow_one_path": "generate_single",
    r"batch\.(rows|multiple|pool)=": "batch.batch_size, pad_to_multiple_of, shuffle_pool",
    r"Marks|_marks|marks=": "special tokens",
    r"Answer": "LineResult, Prediction",
    r"class Layout|Layout\(": "TransformersFiles",
}
"""Former names, as regular expressions of whole words, and what is said instead."""

PHRASES = {
    r"go(es|ing)? on (with|from|after|where)": "resume, continue",
    r"(is|are|was|were|be) told(?! apart)": "is reported, is logged",
    r"stands there twice": "is listed twice",
    r"apart by commas": "comma-separated",
    r"[Ss]ettings that differ": "config overrides",
    r"pieces that the (model|vocabulary) (does not know|lacks)": "out-of-vocabulary tokens",
    r"are others now": "changed since",
    r"flatters": "optimistic (leakage)",
    r"share of every matrix taken off": "decoupled weight decay",
    r"memory of the (first|second) moment": "decay rate beta1, beta2",
    r"form of both flanks": "annealing curve",
    r"(tokens|sentences|examples|updates|lines|rows|pairs|requests|numbers|values|windows) an? "
    r"(second|minute|step|update|epoch|batch|row|seed|run)": "tokens per second",
    r"(s|ms|seconds|minutes|FLOPs|batches|GB|MB) an? (step|update|epoch|run|seed|row)": "ms per step",
    r"(one|once|each|two) an? (batch|epoch|kind|machine|process|row|run|seed|update|window|word)": "once per batch",
}
"""Former phrases, and what is said instead."""

FORMER_NAMES_ALLOWED = {"src/seqlab/runs/compatibility.py"}
"""Where they are read from old files."""

TEXTS = sorted(
    path
    for pattern in ("src/seqlab/**/*", "docs/**/*.md", "README.md", "CONTRIBUTING.md")
    for path in ROOT.glob(pattern)
    if path.suffix in (".py", ".toml", ".jinja", ".md", ".css")
)


@pytest.mark.parametrize(("former", "now"), [*NAMES.items(), *PHRASES.items()])
def test_a_former_word_is_nowhere(former: str, now: str) -> None:
    word = re.compile(rf"(?<![\w-])({former})(?!\w)")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in TEXTS
        if str(path.relative_to(ROOT)) not in FORMER_NAMES_ALLOWED
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if word.search(line)
    ]
    assert not found, f"say {now}: " + "; ".join(found)


def test_a_class_has_one_home() -> None:
    """Two classes of one name are two concepts, or one concept in two places."""
    homes: dict[str, list[str]] = {}
    for path in (ROOT / "src" / "seqlab").rglob("*.py"):
        for name in re.findall(r"^class (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            homes.setdefault(name, []).append(str(path.relative_to(ROOT)))
    assert {name: places for name, places in homes.items() if len(places) > 1 and not name.startswith("_")} == {}


def test_a_module_docstring_names_what_the_file_holds() -> None:
    asks = [
        str(path.relative_to(ROOT))
        for path in sorted((ROOT / "src" / "seqlab").rglob("*.py"))
        if "?" in (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]
    ]
    assert asks == []
