"""Files of questions and answers: a pair a line, or a question on one line and its answer on the next."""

from pathlib import Path

from seqlab.data.corpora.corpus import Example
from seqlab.data.readers.lines import format_suffix, read_lines
from seqlab.errors import UserError


def read_pairs(path: Path) -> list[Example]:
    """The examples of a file: `question<TAB>answer` lines in `.tsv` (also compressed), else alternating lines.

    Raises UserError with file and line for a pair that is not whole, and all that `read_lines` raises.
    """
    return _read_columns(path) if format_suffix(path) == ".tsv" else read_questions(path)


def read_questions(path: Path) -> list[Example]:
    """The examples of a file with a question on one line and its answer on the next, strictly alternating.

    Raises UserError with file and line for a question without an answer and for a blank line.
    """
    examples: list[Example] = []
    question: str | None = None
    number = 0
    for number, line in enumerate(read_lines(path), start=1):
        if question is None:
            question = _filled(line, "question", path, number)
        else:
            examples.append(Example(question, _filled(line, "answer", path, number)))
            question = None
    if question is not None:
        raise UserError(f"{path}:{number}: the question has no answer (it is expected on the next line)")
    return examples


def _read_columns(path: Path) -> list[Example]:
    examples: list[Example] = []
    for number, line in enumerate(read_lines(path), start=1):
        columns = line.split("\t")
        if len(columns) != 2:
            raise UserError(f"{path}:{number}: {len(columns) - 1} tabs, not one: write question<TAB>answer")
        question, answer = columns
        examples.append(Example(_filled(question, "question", path, number), _filled(answer, "answer", path, number)))
    return examples


def _filled(text: str, name: str, path: Path, number: int) -> str:
    if not text.strip():
        raise UserError(f"{path}:{number}: the {name} is blank")
    return text
