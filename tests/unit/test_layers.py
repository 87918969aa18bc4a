"""The bricks of models: sharing, positions, attention kernels, dropout, norms, feed-forward nets, cross entropy."""

import math

import pytest
import torch
import torch.nn.functional as F
from rounding import assert_close

from seqlab.layers.attention import (
    AttentionMask,
    KeyValue,
    Rotation,
    attend,
    attend_by_products,
    attend_fused,
    attention_weights,
    causal_mask,
    key_slots,
    padding_mask,
    prefers_products,
    rotary_table,
    rotate,
    sinusoidal_table,
)
from seqlab.layers.blocks import FeedForward, layer_order
from seqlab.layers.functional import (
    CHUNK_ELEMENTS,
    Dropout,
    RMSNorm,
    cross_entropy_sum,
    dropout,
    kept_levels,
    random_bytes,
)

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


class TestSharing:
    @pytest.mark.parametrize(
        ("sharing", "depth", "distinct", "order"),
        [
            ("none", 3, None, [0, 1, 2]),
            ("albert", 3, None, [0, 0, 0]),
            ("universal", 2, None, [0, 0]),
            ("sequence", 6, 3, [0, 0, 1, 1, 2, 2]),
            ("cycle", 6, 3, [0, 1, 2, 0, 1, 2]),
            ("cycle-rev", 6, 3, [0, 1, 2, 2, 1, 0]),
            ("cycle-rev", 9, 3, [0, 1, 2, 0, 1, 2, 2, 1, 0]),
            ("cycle-rev", 3, 3, [0, 1, 2]),
            ("sequence", 3, 1, [0, 0, 0]),
        ],
    )
    def test_orders_are_those_of_the_papers(self, sharing, depth, distinct, order):
        assert layer_order(sharing, depth, distinct) == order

    @pytest.mark.parametrize("distinct", [0, 4, 7])
    def test_distinct_must_divide_the_depth(self, distinct):
        with pytest.raises(ValueError, match="does not divide the 6 layers"):
            layer_order("cycle", 6, distinct)


class TestPositions:
    def test_sinusoids_are_the_formula(self):
        table = sinusoidal_table(50, 8)
        for position in (0, 1, 49):
            for pair in range(4):
                angle = position / 10_000 ** (2 * pair / 8)
                expected = torch.tensor([math.sin(angle), math.cos(angle)])
                found = table[position, 2 * pair : 2 * pair + 2]
                assert_close(found, expected, terms=1, scale=max(1.0, angle))  # the angle is rounded, too

    def test_rotary_products_depend_on_distance_only(self):
        query, key = torch.randn(2, 1, 1, 1, 16, dtype=torch.float64)
        table = Rotation(*(part.double() for part in rotary_table(60, 16)))

        def product(i: int, j: int) -> torch.Tensor:
            turned = [
                rotate(x, Rotation(table.cos[p : p + 1], table.sin[p : p + 1])) for x, p in ((query, i), (key, j))
            ]
            return (turned[0] * turned[1]).sum()

        size = (query.norm() * key.norm() * 54).item()  # the table is made of angles up to 54 in float32
        assert_close(product(7, 3).float(), product(54, 50), terms=1, scale=size)
        torch.testing.assert_close(product(0, 0), (query * key).sum())
        assert abs(product(7, 3) - product(7, 4)) > 1e-3


def random_heads(dtype: torch.dtype, queries: int = 5, keys: int = 7):
    query = torch.randn(3, 2, queries, 4, dtype=dtype)
    return query, KeyValue(torch.randn(3, 2, keys, 4, dtype=dtype), torch.randn(3, 2, keys, 4, dtype=dtype))


class TestAttention:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("masked", ["not", "padding", "causal"])
    @pytest.mark.parametrize("kernel", [attend_fused, attend_by_products])
    def test_both_kernels_are_right_within_rounding(self, kernel, dtype, masked):
        query, heads = random_heads(dtype, keys=5 if masked == "causal" else 7)

        def mask(dtype):
            real = torch.arange(7) < torch.tensor([[7], [3], [1]])
            return {
                "not": None,
                "padding": padding_mask(real, dtype),
                "causal": causal_mask(5, dtype, CPU),
            }[masked]

        exact = attend_fused(query.double(), KeyValue(*(part.double() for part in heads)), mask(torch.float64), 0.0)
        found = kernel(query, heads, mask(dtype), 0.0)
        # 4 products to a score, 7 weighted values to a result; each of both is rounded to bf16 only once
        assert_close(found, exact, terms=2 if dtype == torch.bfloat16 else 4 + 7)

    def test_attention_is_the_formula(self):
        query, heads = random_heads(torch.float64)
        mask = torch.arange(7) < torch.tensor([[7], [3], [1]])
        scores = torch.einsum("bhtk,bhsk->bhts", query, heads.key) / 2.0
        weights = scores.masked_fill(~mask[:, None, None], -math.inf).softmax(-1)
        torch.testing.assert_close(attention_weights(query, heads.key, padding_mask(mask, torch.float64)), weights)
        expected = torch.einsum("bhts,bhsk->bhtk", weights, heads.value)
        torch.testing.assert_close(attend(query, heads, padding_mask(mask, torch.float64)), expected)

    @pytest.mark.parametrize("kernel", [attend_fused, attend_by_products])
    def test_gradients_agree_with_finite_differences(self, kernel):
        query, heads = random_heads(torch.float64, queries=3, keys=3)
        inputs = [x[:1].clone().requires_grad_() for x in (query, *heads)]
        mask = causal_mask(3, torch.float64, CPU)
        assert torch.autograd.gradcheck(lambda q, k, v: kernel(q, KeyValue(k, v), mask, 0.0), inputs)

    def test_a_row_without_keys_is_finite(self):
        query, heads = random_heads(torch.float32)
        mask = torch.zeros(3, 7, dtype=torch.bool)
        assert attend(query, heads, padding_mask(mask, torch.float32)).isfinite().all()

    def test_nothing_to_hide_is_no_mask(self):
        assert padding_mask(torch.ones(2, 40, dtype=torch.bool), torch.bfloat16) is None
        mask = padding_mask(torch.ones(2, 20, dtype=torch.bool), torch.bfloat16)
        assert isinstance(mask, AttentionMask)
        assert mask.bias.shape == (2, 1, 1, 32)
        assert (mask.bias[..., :20] == 0).all()
        assert (mask.bias[..., 20:] < -1e38).all()

    def test_the_rule_is_a_function_of_dtype_length_and_dropout(self):
        assert [key_slots(n, torch.bfloat16, CPU) for n in (5, 32, 33)] == [32, 32, 33]
        assert [key_slots(n, torch.float32, CPU) for n in (5, 16, 17)] == [16, 16, 17]
        one, two = torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 2, 4)
        assert [prefers_products(two, n, 0.0) for n in (24, 25)] == [True, False]
        assert not prefers_products(one, 24, 0.0)
        assert prefers_products(one, 24, 0.1)
        assert not prefers_products(two.double(), 24, 0.0)
        assert [prefers_products(one.bfloat16(), n, 0.0) for n in (20, 256, 257)] == [True, True, False]


class TestDropout:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("rate", [0.1, 0.3, 0.9])
    def test_mean_and_variance(self, dtype, rate):
        count = 1 << 20
        out = dropout(torch.ones(count, dtype=dtype), rate).float()
        keep = kept_levels(rate) / 256
        assert keep == pytest.approx(1 - rate, abs=1 / 512)
        assert (out > 0).float().mean().item() == pytest.approx(keep, abs=5 * math.sqrt(keep * (1 - keep) / count))
        scale = torch.tensor(1 / keep, dtype=dtype).item()
        assert out.unique().tolist() == [0.0, scale]
        assert out.mean().item() == pytest.approx(1.0, abs=0.01)
        assert out.var().item() == pytest.approx((1 - keep) / keep, rel=0.03)

    def test_the_gradient_goes_where_the_values_went(self):
        values = torch.randn(1000, dtype=torch.float64, requires_grad=True)
        out = dropout(values, 0.5)
        upstream = torch.randn(1000, dtype=torch.float64)
        out.backward(upstream)
        assert values.grad is not None
        torch.testing.assert_close(values.grad, upstream * (out != 0) * 2.0)

    def test_torchs_generator_state_reproduces_the_mask(self):
        values = torch.ones(999)
        state = torch.get_rng_state()
        first, second = dropout(values, 0.3), dropout(values, 0.3)
        torch.set_rng_state(state)
        assert torch.equal(dropout(values, 0.3), first)
        assert not torch.equal(first, second)

    def test_bytes_are_uniform_in_every_place_of_a_draw(self):
        places = random_bytes(8 * 40_000).view(-1, 8).float()
        error = 5 * 73.9 / math.sqrt(40_000)  # the standard deviation of a uniform byte is 73.9
        assert (places.mean(0) - 127.5).abs().max() < error
        assert places.max() == 255

    def test_neighbours_are_independent(self):
        kept = dropout(torch.ones(1 << 20), 0.5) != 0
        both = (kept[:-1] & kept[1:]).float().mean()
        assert both.item() == pytest.approx(0.25, abs=0.003)

    def test_the_backward_pass_keeps_one_byte_an_element(self):
        saved = []
        values = torch.ones(1000, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
            dropout(values, 0.3)
        assert sum(t.numel() * t.element_size() for t in saved) == 1000

    def test_evaluation_and_rate_zero_change_nothing(self):
        values = torch.randn(100)
        assert Dropout(0.5).eval()(values) is values
        assert Dropout(0.0)(values) is values

    def test_values_that_are_not_contiguous(self):
        values = torch.ones(64, 48).t()
        out = dropout(values, 0.25)
        assert out.shape == (48, 64)
        assert out.unique().tolist() == pytest.approx([0.0, 4 / 3])


class TestNormsAndNets:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_rms_norm_is_the_formula(self, dtype):
        norm = RMSNorm(8).to(torch.float64)
        with torch.no_grad():
            norm.weight.copy_(torch.arange(8) / 8)
        x = torch.randn(3, 8, dtype=torch.float64)
        expected = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight
        result = norm(x.to(dtype))
        assert result.dtype == dtype
        assert_close(result, expected, terms=1 if dtype == torch.bfloat16 else 8)  # in bf16 the result is rounded once

    @pytest.mark.parametrize(
        ("activation", "formula"),
        [
            ("relu", lambda h: h.clamp(min=0)),
            ("gelu", lambda h: h * 0.5 * (1 + torch.erf(h / math.sqrt(2)))),
            ("relu2", lambda h: h.clamp(min=0) ** 2),
            ("swiglu", lambda h: h[..., :6] * h[..., :6].sigmoid() * h[..., 6:]),
        ],
    )
    def test_feedforward_is_the_formula(self, activation, formula):
        net = FeedForward(4, 6, activation, 0.0).double()
        x = torch.randn(2, 3, 4, dtype=torch.float64)
        hidden = formula(x @ net.expand.weight.T + net.expand.bias)
        torch.testing.assert_close(net(x), hidden @ net.out.weight.T + net.out.bias)


class TestCrossEntropy:
    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    @pytest.mark.parametrize("tokens", [1, 70])
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
    def test_value_and_gradient_are_those_of_float64(self, dtype, tokens, smoothing):
        vocab = 4001  # 70 tokens are three chunks, the last one smaller
        assert 2 < 70 * vocab / CHUNK_ELEMENTS < 3
        logits = (3 * torch.randn(tokens, vocab)).to(dtype).requires_grad_()
        targets = torch.randint(vocab, (tokens,))
        wide = logits.detach().double()
        expected = F.cross_entropy(wide, targets, label_smoothing=smoothing, reduction="sum")
        result = cross_entropy_sum(logits, targets, smoothing)
        assert result.dtype == torch.promote_types(dtype, torch.float32)
        assert_close(result, expected, terms=vocab)
        (result / 3).backward()
        # by the formula: torch's backward pass of smoothing loses digits, and is off by 3e-6 in float32
        wanted = (wide.softmax(1) - (1 - smoothing) * F.one_hot(targets, vocab).double() - smoothing / vocab) / 3
        assert logits.grad is not None
        # a probability is as exact as the sum that divides it, however small it is; in bf16 it is rounded once, at last
        terms, usual = 1 if dtype == torch.bfloat16 else vocab, wanted.abs().mean().item()
        assert_close(logits.grad, wanted, terms=terms, scale=usual)

    def test_gradient_agrees_with_finite_differences(self):
        logits = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
        targets = torch.tensor([0, 4, 2, 2])
        assert torch.autograd.gradcheck(lambda z: cross_entropy_sum(z, targets, 0.2), (logits,))

    def test_huge_logits_do_not_overflow(self):
        logits = torch.tensor([[1000.0, 0.0], [-1000.0, 0.0]])
        assert cross_entropy_sum(logits, torch.tensor([1, 1])).item() == pytest.approx(1000.0)

    def test_a_token_that_is_nearly_learned_keeps_its_gradient_in_bf16(self):
        logits = torch.tensor([[9.0, 0.0, 0.0]], dtype=torch.bfloat16, requires_grad=True)
        cross_entropy_sum(logits, torch.tensor([0])).backward()
        others = math.exp(-9.0) / (1 + 2 * math.exp(-9.0))
        assert logits.grad is not None
        assert logits.grad[0].tolist() == pytest.approx([-2 * others, others, others], rel=0.01)

    def test_no_tokens_cost_nothing(self):
        assert cross_entropy_sum(torch.zeros(0, 7), torch.zeros(0, dtype=torch.long), 0.1).item() == 0.0
