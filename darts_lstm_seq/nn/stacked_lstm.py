"""The LSTM of several networks at once, with one backward pass over all time steps.

Batched products instead of `nn.LSTM`, which knows no stack, and gradients derived by hand instead
of autograd's, which would record each small operation. What enters the LSTM is prepared in
`stacked.py`.

Source: Hochreiter and Schmidhuber (1997) as `torch.nn.LSTM` writes it. Time comes first and windows
last, so that each gate of a network is one block of memory; this, the joined weights and the
detours below are paid for by measurements: `benchmarks/bench_backtest.py`.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# N time steps, K stacked networks, B batch, I inputs, H hidden, R = I + 1 + H rows of the weights


class StackedLSTM(torch.autograd.Function):
    """One LSTM layer: inputs `(N, K, I, B)` to its hidden states `(N, K, H, B)` or the last one.

    `StackedLSTM.apply(inputs, weights, whole)`: the weights `(K, 4H, R)` are those of `nn.LSTM`
    side by side, in its order of gates: of the inputs, both biases added, of the hidden state. With
    `whole` all hidden states are returned. First derivatives only.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.stacked_lstm import StackedLSTM
    >>> inputs, weights = torch.zeros(24, 2, 1, 5), torch.zeros(2, 4 * 8, 1 + 1 + 8)
    >>> StackedLSTM.apply(inputs, weights, False).shape
    torch.Size([2, 8, 5])
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, whole: bool) -> Tensor:  # noqa: D102
        n_steps, n_networks, n_inputs, batch = x.shape
        hidden = weights.shape[1] // 4
        # what each step reads: its inputs, a one for the bias, the hidden state of the step before
        rows = x.new_empty(n_steps + 1, n_networks, weights.shape[2], batch)  # (N + 1, K, R, B)
        rows[:-1, :, :n_inputs] = x
        rows[:, :, n_inputs] = 1
        states = rows[:, :, n_inputs + 1 :]  # (N + 1, K, H, B)
        states[0] = 0
        gates = x.new_empty(n_steps, n_networks, 4 * hidden, batch)
        cells = x.new_zeros(n_steps + 1, n_networks, hidden, batch)
        bounded = torch.empty_like(cells[1:])
        # tanh(x) = 2 * sigmoid(2x) - 1, for PyTorch's sigmoid is the faster of the two on a CPU:
        # 5 to 10 % of forward and backward with 16 networks or more, nothing with 8
        doubled = weights.clone()
        doubled[:, 2 * hidden : 3 * hidden] *= 2
        for row, gate, (entry, forget, new, out), cell, next_cell, bound, state in zip(
            rows[:-1],
            gates,
            _each_step(gates),
            cells[:-1],
            cells[1:],
            bounded,
            states[1:],
            strict=True,
        ):
            torch.bmm(doubled, row, out=gate).sigmoid_()
            new.mul_(2).sub_(1)
            torch.mul(forget, cell, out=next_cell).addcmul_(entry, new)
            torch.mul(next_cell, 2, out=bound).sigmoid_().mul_(2).sub_(1)
            torch.mul(out, bound, out=state)
        ctx.save_for_backward(weights, rows, gates, cells, bounded)
        ctx.whole = whole
        return states[1:].clone() if whole else states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:  # noqa: D102
        weights, rows, gates, cells, bounded = ctx.saved_tensors
        n_steps, n_networks, _, batch = gates.shape
        n_inputs = weights.shape[2] - bounded.shape[2] - 1
        to_inputs = weights[:, :, :n_inputs].transpose(1, 2)  # (K, I, 4H)
        to_state = weights[:, :, n_inputs + 1 :].transpose(1, 2)  # (K, H, 4H)

        # a gate's gradient is a multiple of the cell's gradient, for the last gate of the state's
        entry, forget, new, out = gates.chunk(4, dim=2)
        slopes = torch.empty_like(gates)
        by_entry, by_forget, by_new, by_out = slopes.chunk(4, dim=2)
        # PyTorch's own fused kernels: slope of the sigmoid or tanh, times the first argument
        sigmoid, tanh = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward
        sigmoid.grad_input(new, entry, grad_input=by_entry)
        sigmoid.grad_input(cells[:-1], forget, grad_input=by_forget)
        tanh.grad_input(entry, new, grad_input=by_new)
        sigmoid.grad_input(bounded, out, grad_input=by_out)
        through = tanh(out, bounded)  # (N, K, H, B), from state to cell

        grad_weights = torch.zeros_like(weights)
        grad_x = rows.new_empty(n_steps, n_networks, n_inputs, batch)
        grad_cell = torch.zeros_like(bounded[0])
        grad_state = (
            torch.zeros_like(bounded[0])
            if ctx.whole
            else grad.clone(memory_format=torch.contiguous_format)
        )
        by_cell = slopes.unflatten(2, (4, -1))[:, :, :3]  # (N, K, 3, H, B)
        for step in range(n_steps - 1, -1, -1):
            if ctx.whole:
                grad_state += grad[step]
            grad_cell.addcmul_(grad_state, through[step])
            by_cell[step].mul_(grad_cell.unsqueeze(1))
            by_out[step].mul_(grad_state)
            slope = slopes[step]  # (K, 4H, B), the gradient of the gates by now
            grad_cell.mul_(forget[step])
            torch.bmm(to_state, slope, out=grad_state)
            grad_weights.baddbmm_(slope, rows[step].transpose(1, 2))
            if ctx.needs_input_grad[0]:
                torch.bmm(to_inputs, slope, out=grad_x[step])
        return grad_x if ctx.needs_input_grad[0] else None, grad_weights, None


def _each_step(gates: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Yield the four gates of each step; one view for all steps is cheaper than one per step."""
    return zip(*(gate.unbind() for gate in gates.chunk(4, dim=2)), strict=True)
