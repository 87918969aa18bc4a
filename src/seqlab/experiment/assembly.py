"""From a config to task and model: the one place that knows which classes a kind of task is made of."""

from functools import partial
from typing import Any, NamedTuple

from seqlab.data.corpora.corpus import TextCorpus
from seqlab.data.corpora.images import ImagesData
from seqlab.data.corpora.kinds import build_corpus
from seqlab.data.corpora.labelled import LabelledCorpus, LabelledData
from seqlab.data.corpora.mathematics import MathematicsData
from seqlab.data.corpora.numbers import NumbersData
from seqlab.data.corpora.parallel import ParallelData
from seqlab.data.corpora.passages import Passages, PassagesData
from seqlab.data.corpora.squad import SquadData
from seqlab.errors import UserError
from seqlab.experiment.config import Experiment
from seqlab.experiment.model_kinds import Model, build_encoder_decoder
from seqlab.models.classifier import SequenceClassifier, SequenceClassifierConfig
from seqlab.models.hf import bert, denoisers
from seqlab.models.hf.bert import BertConfig, MaskedLanguageModel
from seqlab.models.hf.denoisers import BartConfig, T5Config
from seqlab.models.hf.encoder import (
    PretrainedConfig,
    SentenceModel,
    SpanModel,
    build_network,
    load_network,
    random_network,
)
from seqlab.models.hf.encoder_decoder import (
    PretrainedEncoderDecoder,
    PretrainedEncoderDecoderConfig,
    load_encoder_decoder,
    with_settings,
)
from seqlab.models.hf.untrained import expect_frequencies
from seqlab.models.recurrent import RecurrentConfig
from seqlab.models.transformer import TransformerConfig
from seqlab.runs.folder import RunFolder, read_environment
from seqlab.runs.hf_folder import Checkpoint, Layout, check_fits, find_checkpoint, load_tokenizer, read_network_config
from seqlab.tasks.frozen_states import with_frozen_states
from seqlab.tasks.pretraining.denoising import PretrainDenoise, PretrainDenoiseConfig
from seqlab.tasks.pretraining.masked import PretrainMasked, PretrainMaskedConfig
from seqlab.tasks.question_answering.task import AnswerConfig, AnswerQuestions
from seqlab.tasks.sequence_classification.task import ClassifySequence, ClassifySequenceConfig
from seqlab.tasks.sequence_to_sequence.task import SequenceToSequence, SequenceToSequenceConfig
from seqlab.tasks.task import Task
from seqlab.tasks.text_classification.task import ClassifyText, ClassifyTextConfig
from seqlab.text.hf.bart_pieces import learn_bart_pieces
from seqlab.text.hf.pretrained import sides, special_ids
from seqlab.text.hf.t5_pieces import learn_t5_pieces
from seqlab.text.hf.wordpieces import learn_wordpieces
from seqlab.text.vocabularies import Vocabularies, build_vocabularies


class Assembly(NamedTuple):
    """What an experiment is made of."""

    task: Task
    model: Model


def assemble(experiment: Experiment, trained: RunFolder | None = None) -> Assembly:
    """The task, and a freshly initialised model.

    Args:
        experiment: the checked config.
        trained: a run that has been started; what it learned from its data is then not learned again.
    """
    match experiment.task, experiment.data, experiment.model:
        case (
            SequenceToSequenceConfig() as config,
            (MathematicsData() | NumbersData() | ParallelData()) as data,
            (TransformerConfig() | RecurrentConfig()) as model,
        ):
            task = _sequence_to_sequence(experiment, config, build_corpus(data), trained)
            source, target = task.vocabularies
            return Assembly(task, build_encoder_decoder(model, source.vocab_size, target.vocab_size))
        case (
            SequenceToSequenceConfig() as config,
            (MathematicsData() | NumbersData() | ParallelData()) as data,
            PretrainedEncoderDecoderConfig() as model,
        ):
            return _pretrained_sequence_to_sequence(experiment, config, build_corpus(data), model, trained)
        case ClassifySequenceConfig() as config, ImagesData() as data, SequenceClassifierConfig() as model:
            task = ClassifySequence(config, data, trained)
            steps, width = task.reading.steps, task.reading.width
            return Assembly(task, SequenceClassifier(model, width, steps, task.learned.num_classes))
        case AnswerConfig() as config, SquadData() as data, PretrainedConfig() as model:
            return _answer(config, data, model, trained)
        case ClassifyTextConfig() as config, LabelledData() as data, PretrainedConfig() as model:
            return _classify_text(config, data, model, trained)
        case PretrainMaskedConfig() as config, PassagesData() as data, BertConfig() as model:
            return _pretrain_masked(config, data, model, experiment.train.seed, trained)
        case PretrainDenoiseConfig() as config, PassagesData() as data, (BartConfig() | T5Config()) as model:
            return _pretrain_denoise(config, data, model, experiment.train.seed, trained)
        case _:
            raise AssertionError("the check of the experiment lets no other combination through")


def _sequence_to_sequence(
    experiment: Experiment, config: SequenceToSequenceConfig, corpus: TextCorpus, trained: RunFolder | None
) -> SequenceToSequence:
    if trained is None:
        corpus.check_files()
        vocabularies = build_vocabularies(experiment.text, *corpus.texts())
    else:
        vocabularies = Vocabularies.load(trained.tokenizers)
    seed = experiment.train.seed
    return SequenceToSequence(config, experiment.decode, corpus, vocabularies, seed, _usual_sentences(trained))


def _pretrained_sequence_to_sequence(
    experiment: Experiment,
    config: SequenceToSequenceConfig,
    corpus: TextCorpus,
    model: PretrainedEncoderDecoderConfig,
    trained: RunFolder | None,
) -> Assembly:
    decode, layout = experiment.decode, None
    if trained is not None:
        vocabularies = Vocabularies.load(trained.tokenizers)
        settings = with_settings(model, read_network_config(_checkpoint(model, trained)))
        network = random_network(settings, PretrainedEncoderDecoder.HEAD)
    else:
        corpus.check_files()
        tokenizer, network = load_encoder_decoder(model, _checkpoint(model, trained))
        start_id = network.config.decoder_start_token_id
        vocabularies = Vocabularies(*sides(tokenizer, start_id, experiment.text.prefix))
        layout = Layout.of(network, tokenizer, vocabularies.special.bos, decode.max_length)
    adapter = PretrainedEncoderDecoder(model, network, vocabularies.special.prompt)
    adapter.check_writes(decode.max_length)
    seed, usual = experiment.train.seed, _usual_sentences(trained)
    return Assembly(SequenceToSequence(config, decode, corpus, vocabularies, seed, usual, layout), adapter)


def _usual_sentences(trained: RunFolder | None) -> int | None:
    return None if trained is None else read_environment(trained).get("usual_sentences")


def _answer(config: AnswerConfig, data: SquadData, model: PretrainedConfig, trained: RunFolder | None) -> Assembly:
    if model.pooling != "first":
        raise UserError(f"model.pooling={model.pooling} has no effect with the task answer: leave it out")
    corpus = build_corpus(data)
    if trained is None:
        corpus.check_files()
    checkpoint = _checkpoint(model, trained)
    tokenizer = load_tokenizer(checkpoint)
    network = build_network(model, checkpoint, read_network_config(checkpoint), SpanModel.HEAD)
    check_fits(checkpoint, tokenizer, network.config, config.window)
    built = SpanModel(model, network)
    task = AnswerQuestions(config, corpus, tokenizer, network.config, partial(with_frozen_states, built))
    return Assembly(task, built)


def _classify_text(
    config: ClassifyTextConfig, data: LabelledData, model: PretrainedConfig, trained: RunFolder | None
) -> Assembly:
    corpus, checkpoint = LabelledCorpus(data), _checkpoint(model, trained)
    classes: dict[str, Any] = {}  # those of a run stand in the config of its network
    if trained is None:
        corpus.check_files()
        names = dict(enumerate(corpus.classes))
        classes = {"num_labels": len(names), "id2label": names, "label2id": {names[n]: n for n in names}}
    tokenizer = load_tokenizer(checkpoint)
    network = build_network(model, checkpoint, read_network_config(checkpoint, **classes), SentenceModel.head(model))
    check_fits(checkpoint, tokenizer, network.config, config.longest)
    built = SentenceModel(model, network)
    task = ClassifyText(config, corpus, tokenizer, network.config, partial(with_frozen_states, built))
    return Assembly(task, built)


def _pretrain_masked(
    config: PretrainMaskedConfig, data: PassagesData, model: BertConfig, seed: int, trained: RunFolder | None
) -> Assembly:
    corpus = Passages(data)
    tokenizer, network = _to_pretrain(model, corpus, bert.HEAD, config.longest, trained)
    task = PretrainMasked(config, corpus, tokenizer, network.config, seed)
    if trained is None and model.checkpoint is None:
        expect_frequencies(network, task.counts())
    return Assembly(task, MaskedLanguageModel(network))


def _pretrain_denoise(
    config: PretrainDenoiseConfig,
    data: PassagesData,
    model: BartConfig | T5Config,
    seed: int,
    trained: RunFolder | None,
) -> Assembly:
    corpus = Passages(data, fewest=1)
    tokenizer, network = _to_pretrain(model, corpus, PretrainedEncoderDecoder.HEAD, config.longest, trained)
    start_id = network.config.decoder_start_token_id
    special = special_ids(tokenizer, start_id)
    settings = PretrainedEncoderDecoderConfig(checkpoint=model.checkpoint or model.kind)
    adapter = PretrainedEncoderDecoder(settings, network, special.prompt)
    adapter.check_reads(config.longest)
    layout = None if trained else Layout.of(network, tokenizer, special.bos, config.longest - 1)
    task = PretrainDenoise(config, corpus, tokenizer, start_id, seed, layout)
    if trained is None and model.checkpoint is None:
        expect_frequencies(network, task.counts())
    return Assembly(task, adapter)


def _to_pretrain(
    model: BertConfig | BartConfig | T5Config, corpus: Passages, head: str, longest: int, trained: RunFolder | None
) -> tuple[Any, Any]:
    """Tokenizer and network, by what there is: a run, a checkpoint to go on from, or the training texts alone."""
    if trained is None:
        corpus.check_files()
    checkpoint = Checkpoint(str(model.checkpoint), "", is_local=True)
    if trained is not None:
        checkpoint = Checkpoint.of_run(trained.root)
        tokenizer = load_tokenizer(checkpoint)
        network = random_network(read_network_config(checkpoint), head)
    elif model.checkpoint is not None:
        checkpoint = find_checkpoint(model.checkpoint)
        tokenizer = load_tokenizer(checkpoint)
        network = load_network(checkpoint, read_network_config(checkpoint), head)
    else:
        texts = [paragraph for document in corpus.training(0) for paragraph in document.paragraphs]
        tokenizer, settings = _learned(model, texts)
        network = random_network(settings, head)
    check_fits(checkpoint, tokenizer, network.config, longest)
    return tokenizer, network


def _learned(model: BertConfig | BartConfig | T5Config, texts: list[str]) -> tuple[Any, Any]:
    """A tokenizer that is learned from texts, and the config of the network that goes with it."""
    match model:
        case BertConfig():
            tokenizer = learn_wordpieces(texts, model.vocab_size, model.max_length)
            return tokenizer, bert.network_config(model, tokenizer)
        case BartConfig():
            tokenizer = learn_bart_pieces(texts, model.vocab_size, model.max_length)
        case T5Config():
            tokenizer = learn_t5_pieces(texts, model.vocab_size, model.max_length)
    return tokenizer, denoisers.network_config(model, tokenizer)


def _checkpoint(model: PretrainedConfig | PretrainedEncoderDecoderConfig, trained: RunFolder | None) -> Checkpoint:
    """Where a model starts from; a run that has been started has all but the weights in its own folder."""
    return find_checkpoint(model.checkpoint) if trained is None else Checkpoint.of_run(trained.root)
