"""Settings under their former names: recipes, overrides and run folders of version 0.1 are read under the new ones."""

import sys
from typing import Any

FORMAT = 2
"""Of the run folders that are written; it counts up when an older version could not read them any longer."""

RENAMED = {
    "batch.tokens": "batch.max_tokens",
    "batch.rows": "batch.batch_size",
    "batch.multiple": "batch.pad_to_multiple_of",
    "batch.pool": "batch.shuffle_pool",
    "sizes": "auto_size",
}
"""Dotted keys of version 0.1, and what they are called now."""

VALUES = {
    ("sizes", "by-corpus"): True,
    ("sizes", "given"): False,
    ("task.kind", "answer"): "question-answering",
}
"""Values of version 0.1, by the former key, and what they are now."""

BUNDLES = {
    "exact": ["accuracy"],
    "translation": ["bleu", "chrf", "bleu1", "bleu2", "rouge_l", "length_ratio", "exact_match"],
    "paraphrase": [
        *("ibleu", "self_bleu", "copied", "bleu", "chrf", "bleu1", "bleu2", "rouge_l", "length_ratio", "exact_match"),
    ],
}
"""Values of `task.metrics` in version 0.1, and the metrics that they stand for."""

FACTS = {"usual_sentences": "max_sentences_p99"}
"""Keys of environment.json in version 0.1, and what they are called now."""

Tree = dict[str, Any]


def upgraded(tree: Tree, *, warn: bool = False) -> Tree:
    """The settings of a tree under their present names; what is not a former one stays as it is.

    Args:
        tree: tables of settings, as TOML has them; it is not changed.
        warn: say on standard error what should be written now, one line for each.
    """
    tree = {section: dict(table) if isinstance(table, dict) else table for section, table in tree.items()}
    for former in [*RENAMED, *(key for key, _ in VALUES if key not in RENAMED)]:
        section, _, key = former.rpartition(".")
        table = tree.get(section) if section else tree
        if not isinstance(table, dict) or key not in table:
            continue
        present, old = RENAMED.get(former, former), table[key]
        value = VALUES.get((former, old), old) if isinstance(old, str) else old
        if (present, value) == (former, old):
            continue
        del table[key]
        table[present.rpartition(".")[2]] = value
        if warn:
            print(f"seqlab: {former}={old} is called {present}={_written(value)} now", file=sys.stderr)
    return _with_metrics(tree, warn)


def _with_metrics(tree: Tree, warn: bool) -> Tree:
    """Metrics where their task reads them: `metrics` at the top stands for `task.metrics`, a list for its names."""
    task = dict(tree.get("task", {})) if isinstance(tree.get("task", {}), dict) else tree["task"]
    short = tree.pop("metrics", None)
    if not isinstance(task, dict):
        return tree
    found: Tree = {}
    for given in (task.pop("metrics", None), short):
        if isinstance(given, str) and given in BUNDLES:
            if warn:
                print(f"seqlab: task.metrics={given} is called metrics={BUNDLES[given]} now", file=sys.stderr)
            given = BUNDLES[given]
        if given is not None:
            found |= given if isinstance(given, dict) else {"names": given}
    if "tokenize" in task:
        tokenize = task.pop("tokenize")
        if warn:
            print(f"seqlab: task.tokenize={tokenize} is called metrics.bleu.tokenize={tokenize} now", file=sys.stderr)
        found["bleu"] = {"tokenize": tokenize, **found.get("bleu", {})}
    if found:
        task["metrics"] = found
    return tree | {"task": task} if task or "task" in tree else tree


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
