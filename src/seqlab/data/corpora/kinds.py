"""The kinds of data: which config builds which corpus."""

from typing import Annotated, Any, overload

from pydantic import Field

from seqlab.data.corpora.corpus import Corpus, TextCorpus
from seqlab.data.corpora.images import ImageCorpus, ImagesData
from seqlab.data.corpora.labelled import LabelledCorpus, LabelledData
from seqlab.data.corpora.mathematics import Mathematics, MathematicsData
from seqlab.data.corpora.numbers import Numbers, NumbersData
from seqlab.data.corpora.parallel import ParallelCorpus, ParallelData
from seqlab.data.corpora.passages import Passages, PassagesData
from seqlab.data.corpora.squad import Squad, SquadData

TextData = MathematicsData | NumbersData | ParallelData

CorpusConfig = Annotated[TextData | ImagesData | SquadData | LabelledData | PassagesData, Field(discriminator="kind")]
"""One config class a kind."""


@overload
def build_corpus(config: TextData) -> TextCorpus: ...


@overload
def build_corpus(config: CorpusConfig) -> Corpus[Any]: ...


def build_corpus(config: CorpusConfig) -> Corpus[Any]:
    """The corpus that a config describes; files are read when they are needed, not here."""
    match config:
        case MathematicsData():
            return Mathematics(config)
        case NumbersData():
            return Numbers(config)
        case ParallelData():
            return ParallelCorpus(config)
        case ImagesData():
            return ImageCorpus(config)
        case SquadData():
            return Squad(config)
        case LabelledData():
            return LabelledCorpus(config)
        case PassagesData():
            return Passages(config)
