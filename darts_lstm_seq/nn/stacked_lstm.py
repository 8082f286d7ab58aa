"""The LSTM layer of several networks at once, with one backward pass over all time steps.

Batched matrix products, as `nn.LSTM` cannot be stacked, and gradients derived by hand, as autograd
would record every small operation. The inputs are prepared in `stacked.py`.

Source: the equations of `torch.nn.LSTM` (Hochreiter and Schmidhuber, 1997). Time is the first
dimension and the batch the last, so that each gate of a network is contiguous in memory; this, the
concatenated weights and the rewritten tanh were measured in `benchmarks/bench_backtest.py`.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# N time steps, K stacked networks, B batch, I inputs, H hidden, R = I + 1 + H rows of the weights


class StackedLSTM(torch.autograd.Function):
    """One LSTM layer: inputs `(N, K, I, B)` to all hidden states `(N, K, H, B)` or the last one.

    Called as `StackedLSTM.apply(inputs, weights, return_sequence)`. The weights `(K, 4H, R)` are
    those of `nn.LSTM` concatenated, in its order of gates: input weights, sum of both biases,
    recurrent weights. With `return_sequence` the hidden states of all time steps are returned,
    otherwise those of the last one, `(K, H, B)`. First derivatives only.

    Examples
    --------
    >>> import torch
    >>> from darts_lstm_seq.nn.stacked_lstm import StackedLSTM
    >>> inputs, weights = torch.zeros(24, 2, 1, 5), torch.zeros(2, 4 * 8, 1 + 1 + 8)
    >>> StackedLSTM.apply(inputs, weights, False).shape
    torch.Size([2, 8, 5])
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, return_sequence: bool) -> Tensor:  # noqa: D102
        n_steps, n_networks, n_inputs, batch = x.shape
        hidden = weights.shape[1] // 4
        # inputs of each step: features, 1 for the bias, hidden state of the step before
        rows = x.new_empty(n_steps + 1, n_networks, weights.shape[2], batch)  # (N + 1, K, R, B)
        rows[:-1, :, :n_inputs] = x
        rows[:, :, n_inputs] = 1
        states = rows[:, :, n_inputs + 1 :]  # (N + 1, K, H, B)
        states[0] = 0
        gates = x.new_empty(n_steps, n_networks, 4 * hidden, batch)
        cells = x.new_zeros(n_steps + 1, n_networks, hidden, batch)
        tanh_cells = torch.empty_like(cells[1:])
        # tanh(x) = 2 * sigmoid(2x) - 1, as PyTorch's sigmoid is faster than its tanh on a CPU:
        # 5 to 10 % of forward and backward with 16 networks or more, nothing with 8
        doubled = weights.clone()
        doubled[:, 2 * hidden : 3 * hidden] *= 2
        for row, all_gates, single_gates, cell, next_cell, tanh_cell, state in zip(
            rows[:-1],
            gates,
            _each_step(gates),
            cells[:-1],
            cells[1:],
            tanh_cells,
            states[1:],
            strict=True,
        ):
            in_gate, forget_gate, cell_gate, out_gate = single_gates
            torch.bmm(doubled, row, out=all_gates).sigmoid_()
            cell_gate.mul_(2).sub_(1)
            torch.mul(forget_gate, cell, out=next_cell).addcmul_(in_gate, cell_gate)
            torch.mul(next_cell, 2, out=tanh_cell).sigmoid_().mul_(2).sub_(1)
            torch.mul(out_gate, tanh_cell, out=state)
        ctx.save_for_backward(weights, rows, gates, cells, tanh_cells)
        ctx.return_sequence = return_sequence
        return states[1:].clone() if return_sequence else states[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:  # noqa: D102
        weights, rows, gates, cells, tanh_cells = ctx.saved_tensors
        n_steps, n_networks, _, batch = gates.shape
        n_inputs = weights.shape[2] - tanh_cells.shape[2] - 1
        input_weights = weights[:, :, :n_inputs].transpose(1, 2)  # (K, I, 4H)
        recurrent_weights = weights[:, :, n_inputs + 1 :].transpose(1, 2)  # (K, H, 4H)

        # the gradient of each gate is the cell's gradient times a slope; for the output gate it is
        # the hidden state's gradient times a slope
        in_gate, forget_gate, cell_gate, out_gate = gates.chunk(4, dim=2)
        slopes = torch.empty_like(gates)
        in_slope, forget_slope, cell_slope, out_slope = slopes.chunk(4, dim=2)
        # PyTorch's fused kernels: derivative of the sigmoid or tanh, times the first argument
        sigmoid, tanh = torch.ops.aten.sigmoid_backward, torch.ops.aten.tanh_backward
        sigmoid.grad_input(cell_gate, in_gate, grad_input=in_slope)
        sigmoid.grad_input(cells[:-1], forget_gate, grad_input=forget_slope)
        tanh.grad_input(in_gate, cell_gate, grad_input=cell_slope)
        sigmoid.grad_input(tanh_cells, out_gate, grad_input=out_slope)
        state_to_cell = tanh(out_gate, tanh_cells)  # (N, K, H, B), from hidden state to cell

        grad_weights = torch.zeros_like(weights)
        grad_x = rows.new_empty(n_steps, n_networks, n_inputs, batch)
        grad_cell = torch.zeros_like(tanh_cells[0])
        grad_state = (
            torch.zeros_like(tanh_cells[0])
            if ctx.return_sequence
            else grad.clone(memory_format=torch.contiguous_format)
        )
        slopes_from_cell = slopes.unflatten(2, (4, -1))[:, :, :3]  # (N, K, 3, H, B)
        for step in range(n_steps - 1, -1, -1):
            if ctx.return_sequence:
                grad_state += grad[step]
            grad_cell.addcmul_(grad_state, state_to_cell[step])
            slopes_from_cell[step].mul_(grad_cell.unsqueeze(1))
            out_slope[step].mul_(grad_state)
            slope = slopes[step]  # (K, 4H, B), now the gradient of the gates
            grad_cell.mul_(forget_gate[step])
            torch.bmm(recurrent_weights, slope, out=grad_state)
            grad_weights.baddbmm_(slope, rows[step].transpose(1, 2))
            if ctx.needs_input_grad[0]:
                torch.bmm(input_weights, slope, out=grad_x[step])
        return grad_x if ctx.needs_input_grad[0] else None, grad_weights, None


def _each_step(gates: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Yield the four gates of each step; `unbind` is cheaper than indexing every step."""
    return zip(*(gate.unbind() for gate in gates.chunk(4, dim=2)), strict=True)
