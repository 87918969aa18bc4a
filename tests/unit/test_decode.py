"""Searches on toy decoders whose right outputs, scores and numbers of steps are known on paper."""

import math

import pytest
import torch
from rounding import assert_close
from scipy.stats import chisquare
from torch import Tensor, nn

from seqlab.config.settings import build
from seqlab.decode.contract import RowSelection
from seqlab.decode.next_token import draw, forbid_end, forbid_repeated_ngrams, log_normaliser, sampling_distribution
from seqlab.decode.search import Hypothesis, largest, length_penalty, search
from seqlab.decode.settings import DecodeConfig, Method
from seqlab.errors import UserError

EOS, BOS, A, B, C, D = range(6)

torch.set_num_threads(1)


class PositionTable:
    """The probabilities of the next token depend on its position alone; the last row serves all later positions."""

    def __init__(self, probs: list[list[float]]):
        self.log_probs = torch.tensor(probs).log()
        self.rows_per_step: list[int] = []

    def encode(self, source: Tensor, source_mask: Tensor) -> Tensor:
        return source[:, 0]

    def start(self, memory: Tensor) -> Tensor:
        return torch.zeros_like(memory)

    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        assert len(tokens) == len(state)
        self.rows_per_step.append(len(tokens))
        return self.log_probs[state.clamp(max=len(self.log_probs) - 1)], state + 1

    def select_rows(self, state: Tensor, selection: RowSelection) -> Tensor:
        return state[selection.rows]


class Tree:
    """The probabilities of the next token after each prefix."""

    def __init__(self, probs: dict[tuple[int, ...], list[float]]):
        self.probs = probs
        self.rows_per_step: list[int] = []

    def encode(self, source: Tensor, source_mask: Tensor) -> Tensor:
        return source[:, :0]

    def start(self, memory: Tensor) -> Tensor:
        return memory

    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        self.rows_per_step.append(len(tokens))
        state = torch.cat([state, tokens[:, None]], dim=1)
        return torch.tensor([self.probs[tuple(prefix)] for prefix in state[:, 1:].tolist()]).log(), state

    def select_rows(self, state: Tensor, selection: RowSelection) -> Tensor:
        return state[selection.rows]


class Script:
    """Row r of the source, which holds the number r, says `lines[r]` and then its end with probability near 1."""

    def __init__(self, lines: list[list[int]]):
        self.lines = lines
        self.rows_per_step: list[int] = []

    def encode(self, source: Tensor, source_mask: Tensor) -> Tensor:
        return source[:, 0]

    def start(self, memory: Tensor) -> Tensor:
        return torch.stack([memory, torch.zeros_like(memory)], dim=1)

    def step(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        assert len(tokens) == len(state)
        self.rows_per_step.append(len(tokens))
        wanted = [(self.lines[row] + [EOS] * 99)[position] for row, position in state.tolist()]
        return 20.0 * torch.eye(6)[wanted], state + torch.tensor([0, 1])

    def select_rows(self, state: Tensor, selection: RowSelection) -> Tensor:
        return state[selection.rows]


def run(
    model: PositionTable | Tree | Script,
    num_rows: int,
    config: DecodeConfig,
    references: list[list[int]] | None = None,
    seed: int | None = None,
) -> list[list[Hypothesis]]:
    source = torch.arange(num_rows)[:, None]
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    mask = torch.ones_like(source, dtype=torch.bool)
    return search(model, source, mask, config, bos_id=BOS, eos_id=EOS, references=references, generator=generator)


def greedy_ids(model: Script, config: DecodeConfig, references: list[list[int]] | None = None) -> list[list[int]]:
    return [hypotheses[0].ids for hypotheses in run(model, len(model.lines), config, references)]


class TestGreedy:
    def test_stops_when_every_row_has_ended(self):
        model = Script([[A, B], [C, C, C, D, A]])
        assert greedy_ids(model, DecodeConfig()) == model.lines
        assert len(model.rows_per_step) == 6  # five tokens and the end of the longer row

    def test_ended_rows_leave_the_batch_at_half_and_the_order_stays(self):
        model = Script([[A], [B] * 6, [C], [D, D], [A]])
        assert greedy_ids(model, DecodeConfig()) == model.lines
        # Two rows go on after step 2: half of five, dropped. One goes on after step 3: half of two, dropped.
        assert model.rows_per_step == [5, 5, 2, 1, 1, 1, 1]

    def test_few_ended_rows_stay_in_the_batch_and_write_nothing_more(self):
        model = Script([[A], [B] * 3, [C] * 3, [D] * 3])
        assert greedy_ids(model, DecodeConfig()) == model.lines
        assert model.rows_per_step == [4, 4, 4, 4]

    def test_with_references_stops_when_the_rest_already_differs(self):
        model = Script([[A, B], [C, A, A, A, A, A, A, A]])
        first, second = run(model, 2, DecodeConfig(), references=[[A, B], [C, B, A]])
        assert first[0].ids == [A, B]
        assert first[0].finished
        assert second[0].ids == [C, A]  # up to the token that differs
        assert not second[0].finished
        assert len(model.rows_per_step) == 3

    def test_references_stay_with_their_rows_when_others_leave_the_batch(self):
        model = Script([[A], [B] * 4, [C, D], [D, C, B]])
        assert greedy_ids(model, DecodeConfig(), references=[[B], [B] * 4, [C], [D, C, B]]) == [
            [A],
            [B] * 4,
            [C, D],
            [D, C, B],
        ]
        assert model.rows_per_step == [4, 4, 2, 2, 1]

    @pytest.mark.parametrize("answer", [[A, B], [A], [A, B, C, D], [], [A, B, D], [D] * 50])
    def test_with_references_exact_match_is_what_it_is_without(self, answer: list[int]):
        model = Script([[A, B, C], [A, B]])
        hypotheses = run(model, 2, DecodeConfig(max_length=5), references=[answer, answer])
        for (hypothesis,), line in zip(hypotheses, model.lines, strict=True):
            assert (hypothesis.finished and hypothesis.ids == answer) == (line == answer)

    def test_output_of_exactly_max_length_is_finished_and_a_longer_one_is_cut_and_flagged(self):
        model = Script([[A, B, C], [A, B, C, D]])
        whole, cut = run(model, 2, DecodeConfig(max_length=3))
        assert (whole[0].ids, whole[0].finished) == ([A, B, C], True)
        assert (cut[0].ids, cut[0].finished) == ([A, B, C], False)
        assert len(model.rows_per_step) == 4

    def test_score_is_the_models_log_probability_end_included(self):
        model = PositionTable([[0.1, 0.2, 0.7], [0.2, 0.5, 0.3], [0.6, 0.2, 0.2]])
        ((hypothesis,),) = run(model, 1, DecodeConfig())
        assert hypothesis.ids == [A, BOS]
        assert hypothesis.score == pytest.approx(math.log(0.7 * 0.5 * 0.6))

    def test_score_of_a_cut_output_is_that_of_its_tokens(self):
        ((hypothesis,),) = run(PositionTable([[0.1, 0.2, 0.7]]), 1, DecodeConfig(max_length=2))
        assert hypothesis.score == pytest.approx(2 * math.log(0.7))

    def test_constraints_change_the_choice_but_not_the_score_of_a_token(self):
        model = PositionTable([[0.6, 0.1, 0.3]])
        ((hypothesis,),) = run(model, 1, DecodeConfig(min_length=2, no_repeat_ngram=1))
        assert hypothesis.ids == [A, BOS]
        assert hypothesis.score == pytest.approx(math.log(0.3 * 0.1 * 0.6))


class TestBeam:
    def test_first_end_is_not_the_best_when_the_penalty_favours_a_longer_one(self):
        # [] ends first with log 0.4 = -0.92. [A, A, A] ends three steps later with log(0.6 x 0.9 x 0.9 x 0.6) = -1.23,
        # over a penalty of 9 / 6: -0.82.
        model = PositionTable([[0.4, 0.0, 0.6], [0.1, 0.0, 0.9], [0.1, 0.0, 0.9], [0.6, 0.0, 0.4]])
        ((best,),) = run(model, 1, DecodeConfig(method="beam", beam_width=2, length_penalty=1.0))
        assert best.ids == [A, A, A]
        assert best.score == pytest.approx(math.log(0.6 * 0.9 * 0.9 * 0.6))
        assert run(model, 1, DecodeConfig(method="beam", beam_width=2, length_penalty=0.0))[0][0].ids == []

    def test_an_ended_hypothesis_takes_no_place_of_a_live_one(self):
        # [A] is second to [] and leads nowhere; [B] is third and certain to end.
        model = Tree({(): [0.4, 0, 0.35, 0.25], (A,): [0.1, 0.3, 0.3, 0.3], (B,): [1.0, 0, 0, 0]})
        config = DecodeConfig(method="beam", beam_width=2, n_best=2, length_penalty=0.0, max_length=9)
        (hypotheses,) = run(model, 1, config)
        assert [hypothesis.ids for hypothesis in hypotheses] == [[], [B]]
        assert model.rows_per_step == [1, 2]

    def test_an_end_counts_only_among_the_best_of_all_extensions(self):
        # [] is third of three extensions and the beam has two places; log 0.2 would have been the best of all ends.
        model = Tree({(): [0.2, 0, 0.4, 0.4], (A,): [0.4, 0.6, 0, 0], (B,): [0.4, 0.6, 0, 0], (A, 1): [1, 0, 0, 0]})
        model.probs[B, 1] = model.probs[A, 1]
        config = DecodeConfig(method="beam", beam_width=2, length_penalty=0.0, max_length=9)
        assert sorted(run(model, 1, config)[0][0].ids) == [BOS, A]

    def test_stops_at_once_when_no_other_end_can_win(self):
        model = PositionTable([[0.7, 0.0, 0.3], [0.1, 0.0, 0.9]])
        config = DecodeConfig(method="beam", beam_width=2, length_penalty=1.0, max_length=3)
        assert math.log(0.7) > math.log(0.3) / 1.5  # the penalty of 3 tokens and the end is 9 / 6
        assert run(model, 1, config)[0][0].ids == []
        assert len(model.rows_per_step) == 1

    def test_stops_at_the_step_where_the_bound_falls_below_the_worst_kept_end(self):
        model = PositionTable([[0.7, 0.0, 0.3], [0.25, 0.25, 0.5]])
        config = DecodeConfig(method="beam", beam_width=2, length_penalty=1.0, max_length=100)
        assert run(model, 1, config)[0][0].ids == []
        largest_penalty = (5 + 101) / 6
        more = math.ceil((math.log(0.7) * largest_penalty - math.log(0.3)) / math.log(0.5))
        assert len(model.rows_per_step) == 1 + more == 9

    @pytest.mark.parametrize(
        ("alpha", "probs", "best"),
        [
            # The bound is reached at the last possible end: 0.44 ^ (6 / 9) > 0.56, but 0.44 ^ (6 / 8) < 0.56.
            (1.0, [[0.56, 0.0, 0.44], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], [A, A, A]),
            # With a negative alpha it is reached at the next end: 0.53 ^ (7 / 6) > 0.47, but 0.53 ^ (8 / 6) < 0.47.
            (-1.0, [[0.47, 0.0, 0.53], [1.0, 0.0, 0.0]], [A]),
        ],
    )
    def test_bound_is_tight(self, alpha: float, probs: list[list[float]], best: list[int]):
        config = DecodeConfig(method="beam", beam_width=2, length_penalty=alpha, max_length=3)
        assert run(PositionTable(probs), 1, config)[0][0].ids == best

    def test_stops_when_nothing_lives_even_with_fewer_than_n_best(self):
        model = PositionTable([[1.0, 0.0, 0.0]])
        (hypotheses,) = run(model, 1, DecodeConfig(method="beam", n_best=2))
        assert [(hypothesis.ids, hypothesis.finished) for hypothesis in hypotheses] == [([], True)]
        assert len(model.rows_per_step) == 1

    def test_waits_until_all_n_best_are_certain(self):
        model = PositionTable([[0.7, 0.0, 0.3], [0.9, 0.0, 0.1]])
        config = DecodeConfig(method="beam", beam_width=2, n_best=2, length_penalty=0.0)
        (hypotheses,) = run(model, 1, config)
        assert [hypothesis.ids for hypothesis in hypotheses] == [[], [A]]
        assert [hypothesis.score for hypothesis in hypotheses] == pytest.approx([math.log(0.7), math.log(0.27)])
        assert len(model.rows_per_step) == 2

    def test_done_rows_leave_the_batch(self):
        model = Script([[A], [B] * 4, [C]])
        config = DecodeConfig(method="beam", beam_width=2, length_penalty=0.0)
        assert [hypotheses[0].ids for hypotheses in run(model, 3, config)] == model.lines
        assert model.rows_per_step == [3, 6, 2, 2, 2]  # the first step extends one hypothesis a row

    def test_wider_than_the_vocabulary(self):
        model = PositionTable([[0.3, 0.0, 0.7], [0.8, 0.0, 0.2]])
        config = DecodeConfig(method="beam", beam_width=50, n_best=3, length_penalty=0.0, max_length=2)
        (hypotheses,) = run(model, 1, config)
        assert [hypothesis.ids for hypothesis in hypotheses] == [[A], [], [A, A]]
        assert model.rows_per_step == [1, 3, 9]

    def test_without_an_end_the_best_are_cut_and_flagged(self):
        model = PositionTable([[0.0, 0.4, 0.6]])
        config = DecodeConfig(method="beam", beam_width=3, n_best=2, max_length=2)
        (hypotheses,) = run(model, 1, config)
        assert hypotheses[0].ids == [A, A]
        assert hypotheses[0].score == pytest.approx(math.log(0.36))
        assert sorted(hypotheses[1].ids) == [BOS, A]
        assert not any(hypothesis.finished for hypothesis in hypotheses)

    def test_cut_ones_come_last_and_never_repeat_an_ended_one(self):
        # After [A], the end is almost impossible, but it is within the beam at the limit; after [BOS] it is not.
        model = PositionTable([[0.0, 0.1, 0.9], [0.2, 0.1, 0.7]])
        config = DecodeConfig(method="beam", beam_width=2, n_best=2, max_length=1)
        (hypotheses,) = run(model, 1, config)
        assert [(hypothesis.ids, hypothesis.finished) for hypothesis in hypotheses] == [([A], True), ([BOS], False)]

    def test_penalty_is_that_of_the_paper(self):
        assert length_penalty(torch.tensor([1, 7, 19]), 1.0).tolist() == pytest.approx([1, 2, 4])
        assert length_penalty(torch.tensor([1, 7, 19]), 0.5).tolist() == pytest.approx([1, 2**0.5, 2])
        assert length_penalty(torch.tensor([1, 7, 19]), 0.0).tolist() == [1, 1, 1]


class TestConstraints:
    @pytest.mark.parametrize("n", [1, 2, 3, 4])
    def test_repeated_ngrams_are_those_that_a_scan_finds(self, n: int):
        generator = torch.Generator().manual_seed(n)
        for length in range(9):
            prefix = torch.randint(1, 4, (20, length), generator=generator)
            allowed = forbid_repeated_ngrams(torch.zeros(20, 4), prefix, n).isfinite()
            for row, words in zip(allowed.tolist(), prefix.tolist(), strict=True):
                seen = [words[i : i + n] for i in range(length - n + 1)]
                last = words[length - n + 1 :] if length >= n else [0] * n
                assert row == [[*last, token] not in seen for token in range(4)]

    def test_end_is_forbidden_unless_nothing_else_is_left(self):
        inf = math.inf
        logits = torch.tensor([[1.0, 2.0, -inf], [1.0, -inf, -inf]])
        assert forbid_end(logits, EOS).tolist() == [[-inf, 2.0, -inf], [1.0, -inf, -inf]]

    @pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
    def test_every_method_obeys_them(self, method: Method):
        model = PositionTable([[0.7, 0.05, 0.15, 0.06, 0.04]])
        config = DecodeConfig(method=method, min_length=4, no_repeat_ngram=1, max_length=8)
        for hypotheses in run(model, 20, config, seed=0 if method == "sample" else None):
            assert sorted(hypotheses[0].ids) == [BOS, A, B, C]  # all four words once, then only the end is left
            assert hypotheses[0].finished

    @pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
    def test_a_block_that_leaves_nothing_ends_the_output_below_its_minimum(self, method: Method):
        model = PositionTable([[0.2, 0.4, 0.4]])
        config = DecodeConfig(method=method, min_length=5, no_repeat_ngram=1)
        ((hypothesis,),) = run(model, 1, config, seed=0 if method == "sample" else None)
        assert (sorted(hypothesis.ids), hypothesis.finished) == ([BOS, A], True)


class TestSampling:
    logits = torch.tensor([1.0, 0.0, 2.0, -1.0, 0.5])

    @pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
    def test_frequencies_are_those_of_the_softmax(self, temperature: float):
        config = DecodeConfig(method="sample", temperature=temperature)
        tokens = draw(self.logits.expand(20_000, -1), config, torch.Generator().manual_seed(1))
        expected = (self.logits.double() / temperature).softmax(0) * len(tokens)
        assert chisquare(tokens.bincount(minlength=5).numpy(), expected.numpy()).pvalue > 0.01

    @pytest.mark.parametrize(
        ("k", "kept"), [(1, [2]), (2, [0, 2]), (3, [0, 2, 4]), (5, [0, 1, 2, 3, 4]), (99, [0, 1, 2, 3, 4])]
    )
    def test_top_k_keeps_the_k_most_probable_in_proportion(self, k: int, kept: list[int]):
        probs = sampling_distribution(self.logits[None], DecodeConfig(method="sample", top_k=k))[0]
        assert probs.nonzero().flatten().tolist() == kept
        torch.testing.assert_close(probs[kept], self.logits[kept].softmax(0))

    def test_top_k_keeps_no_more_among_equals(self):
        probs = sampling_distribution(torch.zeros(1, 6), DecodeConfig(method="sample", top_k=2))[0]
        assert sorted(probs.tolist()) == [0, 0, 0, 0, 0.5, 0.5]

    @pytest.mark.parametrize(
        ("p", "kept"),
        [(1e-6, [3]), (0.39, [3]), (0.41, [1, 3]), (0.69, [1, 3]), (0.71, [1, 2, 3]), (0.99, [0, 1, 2, 3])],
    )
    def test_top_p_keeps_the_fewest_that_reach_p(self, p: float, kept: list[int]):
        probs = torch.tensor([0.1, 0.3, 0.2, 0.4])
        left = sampling_distribution(probs.log()[None], DecodeConfig(method="sample", top_p=p))[0]
        assert left.nonzero().flatten().tolist() == kept
        torch.testing.assert_close(left[kept], probs[kept] / probs[kept].sum())

    def test_top_p_is_taken_of_what_top_k_left(self):
        probs = torch.tensor([0.1, 0.3, 0.2, 0.4])
        config = DecodeConfig(method="sample", top_k=2, top_p=0.5)  # of the two, token 3 has 0.57 of 1
        assert sampling_distribution(probs.log()[None], config).tolist() == [[0, 0, 0, 1]]

    def test_outputs_follow_the_model(self):
        model = PositionTable([[0.5, 0.0, 0.5], [0.2, 0.0, 0.8], [1.0, 0.0, 0.0]])
        outputs = run(model, 100, DecodeConfig(method="sample", n_best=50), seed=3)
        assert {len(hypotheses) for hypotheses in outputs} == {50}
        lengths = torch.tensor([len(hypothesis.ids) for hypotheses in outputs for hypothesis in hypotheses])
        assert chisquare(lengths.bincount().numpy(), [2500, 500, 2000]).pvalue > 0.01
        scores = {len(h.ids): h.score for hypotheses in outputs for h in hypotheses}
        assert [scores[n] for n in range(3)] == pytest.approx([math.log(p) for p in (0.5, 0.1, 0.4)])

    def test_draws_stay_with_their_rows_and_repeat_with_the_seed(self):
        model = Script([[A, B], [C], [D, D, D]])
        config = DecodeConfig(method="sample", n_best=2)
        outputs = run(model, 3, config, seed=5)
        assert [[hypothesis.ids for hypothesis in row] for row in outputs] == [[line, line] for line in model.lines]
        noisy = PositionTable([[0.1, 0.3, 0.3, 0.3]])
        assert run(noisy, 3, config, seed=5) == run(noisy, 3, config, seed=5)
        assert run(noisy, 3, config, seed=5) != run(noisy, 3, config, seed=6)


class TestSettings:
    @pytest.mark.parametrize(
        ("tree", "words"),
        [
            ({"beam_width": 4}, 'beam_width=4 has no effect with method="greedy"'),
            ({"method": "beam", "temperature": 0.5}, 'temperature=0.5 has no effect with method="beam"'),
            ({"method": "sample", "length_penalty": 0.0}, 'length_penalty=0.0 has no effect with method="sample"'),
            ({"n_best": 2}, 'choose method="beam" or method="sample", or leave n_best at 1'),
            ({"method": "beam", "n_best": 6}, "n_best=6 is more than beam_width=5"),
            ({"min_length": 200}, "min_length=200 is more than max_length=128"),
            ({"method": "sample", "top_p": 0.0}, "top_p"),
            ({"method": "sample", "temperature": 0}, "temperature"),
            ({"method": "sample", "top_k": -1}, "top_k"),
            ({"max_length": 0}, "max_length"),
            ({"method": "beam", "beam_width": 0}, "beam_width"),
            ({"method": "beem"}, 'did you mean "beam"'),
        ],
    )
    def test_mistakes_are_told(self, tree: dict[str, object], words: str):
        with pytest.raises(UserError) as caught:
            build(DecodeConfig, tree, "recipe.toml")
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
    def test_defaults_written_out_are_no_mistake(self, method: Method):
        config = DecodeConfig(method=method)
        assert build(DecodeConfig, config.model_dump(), "config.toml") == config


class TestArguments:
    def test_references_are_for_greedy(self):
        with pytest.raises(ValueError, match='not method="beam"'):
            run(Script([[A]]), 1, DecodeConfig(method="beam"), references=[[A]])

    def test_every_row_has_its_answer(self):
        with pytest.raises(ValueError, match="1 references for 2 rows"):
            run(Script([[A], [B]]), 2, DecodeConfig(), references=[[A]])

    def test_sampling_needs_a_generator(self):
        with pytest.raises(ValueError, match=r"needs a torch\.Generator"):
            run(Script([[A]]), 1, DecodeConfig(method="sample"))

    def test_a_model_in_training_mode_is_refused(self):
        class Model(PositionTable, nn.Module):
            def __init__(self):
                nn.Module.__init__(self)
                PositionTable.__init__(self, [[1.0, 0.0, 0.0]])

        model = Model()
        with pytest.raises(ValueError, match=r"call model\.eval\(\)"):
            run(model, 1, DecodeConfig())
        model.eval()
        assert run(model, 1, DecodeConfig())[0][0].ids == []


@pytest.mark.parametrize("entries", [3, 130, 640, 1000, 8001])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_largest_values_are_those_of_topk(entries: int, k: int) -> None:
    values = torch.randn(7, entries, generator=torch.Generator().manual_seed(entries))
    values[0, 1:] = -torch.inf  # all but one forbidden
    k = min(k, entries)
    found, places = largest(values, k)
    assert torch.equal(found, values.topk(k).values)
    assert torch.equal(values.gather(1, places), found)


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 70])
def test_the_normaliser_is_logsumexp_for_any_number_of_rows(rows: int) -> None:
    logits = torch.randn(rows, 9, generator=torch.Generator().manual_seed(rows)) * 10
    logits[0, :8] = -torch.inf
    for given in (logits, logits.bfloat16()):
        assert_close(log_normaliser(given), given.double().logsumexp(-1), terms=9)
