"""The authors' checkpoints -> ours: a name map for each network, and one checked reader of their files."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from aih_gen.errors import AssetError
from aih_gen.io.write import check_apart, check_writable
from hdr_model.config import HASMConfig, HDRMConfig, SHPEConfig, Task
from hdr_model.nets.encoders import make_encoder
from hdr_model.nets.external_weights import read_external
from hdr_model.nets.hasm import HAND_MASKS, HASM
from hdr_model.nets.hdrm import HDRM
from hdr_model.nets.pretrained import PretrainedNetwork, load_checked
from hdr_model.nets.shpe import SHPE
from hdr_model.weights import CONFIG_FILE, WEIGHTS_FILE

State = dict[str, Tensor]


def import_reference(checkpoints: dict[Task, str | os.PathLike[str]], folder: str | os.PathLike[str]) -> list[Path]:
    """Writes ``folder/TASK/{config.json,model.safetensors}`` for each of the authors' checkpoints.

    Raises:
        AIHError: ``folder`` cannot be written to, or a file there is one of the checkpoints.
        AssetError: a checkpoint is missing, unreadable, or another network's.
    """
    folders = [Path(folder) / task for task in checkpoints]
    for target in folders:
        check_writable(target)
        for name in (CONFIG_FILE, WEIGHTS_FILE):
            check_apart(target / name, checkpoints.values())
    networks = {task: load_reference(task, path) for task, path in checkpoints.items()}
    for network, target in zip(networks.values(), folders, strict=True):
        network.save_pretrained(target)
    return folders


def load_reference(task: Task, path: str | os.PathLike[str]) -> PretrainedNetwork:
    """One of the authors' checkpoints as our network; only tensors and plain values are ever unpickled."""
    return from_reference_state(task, read_external(path), str(path))


def from_reference_state(task: Task, state: State, source: str) -> PretrainedNetwork:
    """The network of ``task`` with the reference's tensors; ``source`` names them in errors."""
    network, tensors = _CONVERTERS[task](state, source)
    load_checked(network, tensors, source)
    return network.eval()


def _renamed(state: State, rules: tuple[tuple[str, str], ...]) -> State:
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def _hdrm(state: State, source: str) -> tuple[HDRM, State]:
    kept = {}
    for name, tensor in state.items():
        name = re.sub(r"^(enc|dec)_(\d+)", _hdrm_level, name)
        if ".mask_conv." not in name:
            # The reference divides by the number of valid values; ours also multiplies by the window's size.
            kept[name] = tensor / tensor[0].numel() if name.endswith("input_conv.weight") else tensor
    rules = (
        (r"^last\.conv\.input_conv\.bias", r"last.bias"),
        (r"^last\.conv\.input_conv\.", r"last.conv."),
        (r"\.conv\.input_conv\.", r".partial.conv."),
        (r"_transformer\.block1\.0\.", r".block."),
        (r"_transformer\.norm1\.", r".block.norm."),
        (r"\.dwconv\.dwconv\.", r".dwconv."),
    )
    return HDRM(HDRMConfig()), _renamed(kept, rules)


def _hdrm_level(match: re.Match[str]) -> str:
    side, level = match[1], int(match[2])
    if side == "enc":
        return f"encoder.{level - 1}"
    return f"decoder.{level - 2}" if level > 1 else "last"


def _shpe(state: State, source: str) -> tuple[SHPE, State]:
    rules = (
        (r"^resnet\.squeeze\.", r"decoder.squeeze."),
        (r"^resnet\.", r"encoder."),
        (r"^hmap_0\.", r"decoder.heat_head."),
        (r"^dmap_0\.", r"decoder.delta_head."),
        (r"^lmap_0\.", r"decoder.location_head."),
    )
    return SHPE(SHPEConfig()), _renamed(state, rules)


def start_encoder(network: HASM | SHPE, path: str | os.PathLike[str]) -> None:
    """Give a network's encoder the weights of a file, and leave its decoder as it is.

    Args:
        path: one of ``LAYOUTS``; the tensors of classifiers and decoders are ignored.

    Raises:
        AssetError: the file cannot be read, has another layout, or its encoder is not of this size.
    """
    state = {name.removeprefix("backbone."): tensor for name, tensor in read_external(path).items()}
    if any(name.startswith("stages.0.0.") for name in state):
        encoder = state
    elif any(".patch_embeddings." in name for name in state):
        prefix = r"^(?:segformer\.|model\.)?encoder\."
        encoder = _renamed({n: tensor for n, tensor in state.items() if re.match(prefix, n)}, ((prefix, ""), *_HUB))
    elif any(name.startswith("patch_embed1.") for name in state):
        encoder = _nvlabs(state)
    elif any(name.startswith("layers.0.0.") for name in state):
        bare = {f"backbone.{n}": tensor for n, tensor in state.items() if n.startswith("layers.")}
        encoder = {n.removeprefix("encoder."): tensor for n, tensor in _mix_transformer(bare).items()}
    else:
        known = "; ".join(f"{layout} ({name})" for layout, name in LAYOUTS.items())
        raise AssetError(f"{path}: expected tensors named as in one of {known}; found {next(iter(state))}")
    load_checked(cast(nn.Module, network.encoder), encoder, str(path))


LAYOUTS = {
    "assets/encoders": "stages.0.0...",
    "NVlabs' SegFormer": "patch_embed1.proj.weight",
    "mmsegmentation's": "layers.0.0.projection.weight",
    "transformers'": "segformer.encoder.patch_embeddings.0.proj.weight",
}
"""Files that an encoder can start from, each with one of its names: its own tensors, or a Mix Transformer's (Xie et al.
2021) as others store it."""


def _nvlabs(state: State) -> State:
    """The Mix Transformer of the authors' own code under our names; other tensors are left out."""
    split: State = {}
    for name, tensor in state.items():
        if not (match := re.match(r"(patch_embed|block|norm)([1-4])\.", name)):
            continue
        name = f"{match[1]}.{int(match[2]) - 1}.{name.removeprefix(match[0])}"
        if ".attn.kv." in name:
            for part, half in zip("kv", tensor.chunk(2), strict=True):
                split[name.replace(".kv.", f".{part}_proj.")] = half
        else:
            split[name] = tensor
    reduction = r".attention.sequence_reduction."
    rules = (
        (r"^patch_embed\.(\d)\.norm\.", r"stages.\1.patch_embeddings.layer_norm."),
        (r"^patch_embed\.(\d)\.", r"stages.\1.patch_embeddings."),
        (r"^norm\.(\d)\.", r"stages.\1.layer_norm."),
        (r"^block\.(\d)\.(\d+)\.", r"stages.\1.blocks.\2."),
        (r"\.norm1\.", r".layernorm_before."),
        (r"\.norm2\.", r".layernorm_after."),
        (r"\.attn\.sr\.", rf"{reduction}sequence_reduction."),
        (r"\.attn\.norm\.", rf"{reduction}layer_norm."),
        (r"\.attn\.q\.", r".attention.q_proj."),
        (r"\.attn\.proj\.", r".attention.o_proj."),
        (r"\.attn\.", r".attention."),
    )
    return _renamed(split, rules)


def _mix_transformer(state: State) -> State:
    """Mmsegmentation's backbone under our names; other tensors as they are."""
    split: State = {}
    for name, tensor in state.items():
        if match := re.fullmatch(r"(.+\.attn)\.attn\.in_proj_(weight|bias)", name):
            for part, third in zip("qkv", tensor.chunk(3), strict=True):
                split[f"{match[1]}.{part}_proj.{match[2]}"] = third
        else:
            split[name] = tensor.flatten(1) if re.search(r"\.ffn\.layers\.[04]\.weight$", name) else tensor
    reduction = r".attention.sequence_reduction."
    rules = (
        (r"^backbone\.layers\.(\d+)\.0\.projection\.", r"encoder.stages.\1.patch_embeddings.proj."),
        (r"^backbone\.layers\.(\d+)\.0\.norm\.", r"encoder.stages.\1.patch_embeddings.layer_norm."),
        (r"^backbone\.layers\.(\d+)\.2\.", r"encoder.stages.\1.layer_norm."),
        (r"^backbone\.layers\.(\d+)\.1\.(\d+)\.", r"encoder.stages.\1.blocks.\2."),
        (r"\.norm1\.", r".layernorm_before."),
        (r"\.norm2\.", r".layernorm_after."),
        (r"\.attn\.attn\.out_proj\.", r".attention.o_proj."),
        (r"\.attn\.sr\.", rf"{reduction}sequence_reduction."),
        (r"\.attn\.norm\.", rf"{reduction}layer_norm."),
        (r"\.attn\.", r".attention."),
        (r"\.ffn\.layers\.0\.", r".mlp.fc1."),
        (r"\.ffn\.layers\.1\.", r".mlp.dwconv.dwconv."),
        (r"\.ffn\.layers\.4\.", r".mlp.fc2."),
    )
    return _renamed(split, rules)


_HUB = (
    (r"^patch_embeddings\.(\d+)\.", r"stages.\1.patch_embeddings."),
    (r"^block\.(\d+)\.(\d+)\.", r"stages.\1.blocks.\2."),
    (r"^layer_norm\.(\d+)\.", r"stages.\1.layer_norm."),
    (r"\.layer_norm_1\.", r".layernorm_before."),
    (r"\.layer_norm_2\.", r".layernorm_after."),
    (r"\.attention\.self\.query\.", r".attention.q_proj."),
    (r"\.attention\.self\.key\.", r".attention.k_proj."),
    (r"\.attention\.self\.value\.", r".attention.v_proj."),
    (r"\.attention\.self\.sr\.", r".attention.sequence_reduction.sequence_reduction."),
    (r"\.attention\.self\.layer_norm\.", r".attention.sequence_reduction.layer_norm."),
    (r"\.attention\.output\.dense\.", r".attention.o_proj."),
    (r"\.mlp\.dense1\.", r".mlp.fc1."),
    (r"\.mlp\.dense2\.", r".mlp.fc2."),
)
"""The names that transformers' checkpoints of SegFormer have on disk -> those of its modules; newer files have both."""


def _hasm(state: State, source: str) -> tuple[HASM, State]:
    rules = (
        (r"^decode_head\.convs\.(\d+)\.conv\.", r"decoder.projections.\1.0."),
        (r"^decode_head\.convs\.(\d+)\.bn\.", r"decoder.projections.\1.1."),
    )
    return HASM(_hasm_config(state, source)), _renamed(_side_by_side(_mix_transformer(state)), rules)


_HEAD_TENSORS = {
    "decoder.fusion.0.weight": "fusion_conv{}.conv.weight",
    **{
        f"decoder.fusion.1.{name}": f"fusion_conv{{}}.bn.{name}"
        for name in ("weight", "bias", "running_mean", "running_var")
    },
    "decoder.fusion.1.num_batches_tracked": "fusion_conv{}.bn.num_batches_tracked",
    "decoder.classifier.weight": "conv_seg{}.weight",
    "decoder.classifier.bias": "conv_seg{}.bias",
}


def _side_by_side(state: State) -> State:
    """The reference's four heads as ours, one behind the other; a head that is not whole stays as it is."""
    merged = dict(state)
    for ours, theirs in _HEAD_TENSORS.items():
        names = [f"decode_head.{theirs.format(number)}" for number in range(1, len(HAND_MASKS) + 1)]
        if all(name in merged for name in names):
            parts = [merged.pop(name) for name in names]
            merged[ours] = torch.cat(parts) if parts[0].ndim else parts[0]
    return merged


def _hasm_config(state: State, source: str) -> HASMConfig:
    """B0 to B5 differ in widths and depths only, and both show in the tensors."""
    pattern = r"^(?:backbone\.layers|stages)\.(\d)\.(?:1|blocks)\.(\d+)\.(?:norm1|layernorm_before)\.weight$"

    def widths(tensors: State) -> dict[tuple[str, ...], int]:
        return {match.groups(): len(t) for name, t in tensors.items() if (match := re.match(pattern, name))}

    for name in _MIX_TRANSFORMERS:
        with torch.device("meta"):
            encoder = cast(nn.Module, make_encoder(name))
        if widths(encoder.state_dict()) == widths(state):
            return HASMConfig(name)
    raise AssetError(f"{source}: expected a SegFormer of B0 to B5, found one of {len(widths(state))} blocks")


_MIX_TRANSFORMERS: tuple[str, ...] = ("mit_b0", "mit_b1", "mit_b2", "mit_b3", "mit_b4", "mit_b5")

_CONVERTERS: dict[Task, Callable[[State, str], tuple[PretrainedNetwork, State]]] = {
    "hasm": _hasm,
    "hdrm": _hdrm,
    "shpe": _shpe,
}
"""The untrained network, and the reference's tensors under its names."""
