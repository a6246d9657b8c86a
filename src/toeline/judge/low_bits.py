"""Quantized weights that were just loaded, made to compute as their device can."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def settle(model: Any, dtype: torch.dtype) -> None:
    """Let a quantized model that was just loaded compute in `dtype`, and as its device can.

    Of an NF4 model transformers leaves weights that are not quantized as they were saved. On a CPU without instructions
    for products of int8, torch's own take a hundred times as long as those of float32, which give the same sums:
    integers up to 2^24 are exact.
    """
    for weight in model.parameters():
        if type(weight) is nn.Parameter and weight.is_floating_point():
            weight.data = weight.data.to(dtype)
    on_cpu = model.lm_head.weight.device.type == "cpu"
    for module in model.modules():
        kind = type(getattr(module, "weight", None)).__name__
        if kind == "Params4bit":
            module.compute_dtype, module.compute_type_is_set = dtype, True
        elif kind == "Int8Tensor" and on_cpu and not torch.cpu._is_vnni_supported():
            module.forward = partial(multiply_in_floats, module)


def multiply_in_floats(layer: Any, inputs: Tensor) -> Tensor:
    """As torchao's W8A8 linear layer."""
    from torchao.quantization.quantize_.common import _choose_quant_func_and_quantize_tensor

    weight = layer.weight
    rows = _choose_quant_func_and_quantize_tensor(inputs, weight.act_quant_kwargs)
    product = F.linear(rows.qdata.float(), weight.qdata.float()) * rows.scale.float() * weight.scale.float().flatten()
    outputs: Tensor = product if layer.bias is None else product + layer.bias
    return outputs.to(inputs.dtype)
