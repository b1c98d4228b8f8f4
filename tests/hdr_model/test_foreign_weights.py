from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from transformers import SegformerModel

from aih_gen.errors import AssetError
from hdr_model import HASM, HDR
from hdr_model.cli import main
from hdr_model.config import HASMConfig, preset
from hdr_model.import_reference import load_reference, start_encoder
from hdr_model.nets.discriminator import Discriminator
from hdr_model.nets.external_weights import read_external
from hdr_model.nets.vgg import VGG16Features
from tests.hdr_model.test_reference import REFERENCE, needs_reference, reference_state

B0 = HASMConfig("mit_b0", decoder_width=16)


@needs_reference
def test_the_three_checkpoints_become_weights_for_hdr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the prefix that several GPUs leave, an optimiser's state, and mmsegmentation's wrapping."""
    arguments = ["import-reference", "--out", str(tmp_path / "weights")]
    for task, stem in (("hasm", "hasm_b0"), ("hdrm", "hdrm"), ("shpe", "shpe")):
        state = {("module." if task == "hdrm" else "") + name: t for name, t in reference_state(stem).items()}
        beside = {"optimizer": {"state": {0: {"step": 3}}}, "step": 3} if task != "hasm" else {"meta": {"epoch": 1}}
        torch.save({"state_dict": state, **beside}, tmp_path / f"{task}.pth")
        arguments += [f"--{task}", str(tmp_path / f"{task}.pth")]
    assert main(arguments) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    hdr = HDR.from_pretrained(tmp_path / "weights")
    expected = load_reference("shpe", tmp_path / "shpe.pth").state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in hdr.shpe.state_dict().items())


@needs_reference
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("lacks", "expected all tensors of SHPE, found 1 missing"),
        ("adds", "expected only tensors of SHPE, found 1 others"),
    ],
)
def test_a_checkpoint_that_lacks_or_adds_a_tensor_is_refused_by_its_name(
    change: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = reference_state("shpe")
    if change == "lacks":
        del state["resnet.bn1.bias"]
    else:
        state["resnet.bn1.extra"] = torch.zeros(1)
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    path = str(tmp_path / "a.pth")
    assert main(["import-reference", "--shpe", path, "--hdrm", path, "--hasm", path, "--out", str(tmp_path / "w")]) == 2
    with pytest.raises(AssetError, match=rf"a\.pth: .*{said}: (encoder\.bn1\.bias|encoder\.bn1\.extra)"):
        load_reference("shpe", path)
    assert not (tmp_path / "w").exists()


@needs_reference
@torch.no_grad()
def test_the_discriminator_computes_what_its_reference_names_describe() -> None:
    """Written out: each weight divided by u^T W v, as spectral normalisation does when nothing is trained."""
    state = {n: t for n, t in reference_state("discriminator").items() if not n.startswith("features.")}
    ours = Discriminator().eval()
    image, (visible, background) = torch.randn(1, 3, 64, 64), torch.rand(2, 1, 1, 64, 64) > 0.5
    x = torch.cat([image, visible.float(), background.float()], 1)
    for layer, conv in enumerate(ours.convs, 1):
        weight, u, v = (state[f"conv{layer}.0.weight_{leaf}"] for leaf in ("orig", "u", "v"))
        u, v = F.normalize(u, dim=0), F.normalize(v, dim=0)
        parametrization = conv.parametrizations.weight
        parametrization.original.copy_(weight)
        assert isinstance(parametrization[0], parametrizations._SpectralNorm)
        parametrization[0]._u.copy_(u)
        parametrization[0]._v.copy_(v)
        x = F.conv2d(x, weight / (u @ weight.flatten(1) @ v), stride=2 if layer <= 3 else 1, padding=1)
        x = F.leaky_relu(x, 0.2) if layer < 5 else x
    found = ours(image, visible, background)
    assert (found - x).abs().max() <= 1e-4 * x.abs().max()


MILLIONS: dict[str, float] = {
    "mit_b0": 3.3, "mit_b1": 13.2, "mit_b2": 24.2, "mit_b3": 44.1, "mit_b4": 60.8, "mit_b5": 81.4
}  # fmt: skip


@pytest.mark.parametrize("name", MILLIONS)
def test_every_mix_transformer_has_its_published_size(name: str) -> None:
    with torch.device("meta"):
        encoder = HASM(HASMConfig(name)).encoder
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(MILLIONS[name], abs=0.2)


def filled_b0() -> HASM:
    torch.manual_seed(3)
    return HASM(B0)


def mmsegmentation(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder of ``tensors`` in the layout of ``hasm_b0_keys.json``, without its decoder."""
    keys = json.loads((REFERENCE / "hasm_b0_keys.json").read_text())
    return {n.removeprefix("backbone."): t for n, t in tensors.items() if n in keys and n.startswith("backbone.")}


@needs_reference
def test_hasm_starts_from_mmsegmentations_imagenet_weights(tmp_path: Path) -> None:
    state = reference_state("hasm_b0")
    torch.save({"state_dict": {"module." + n: t for n, t in state.items()}}, tmp_path / "whole.pth")
    torch.save(mmsegmentation(state), tmp_path / "mit_b0.pth")
    torch.save({"state_dict": state}, tmp_path / "a.pth")
    expected = load_reference("hasm", tmp_path / "a.pth").encoder.state_dict()  # type: ignore[union-attr]
    for file in ("whole.pth", "mit_b0.pth"):
        hasm = filled_b0()
        head = hasm.decoder.fusion[0].weight.clone()
        start_encoder(hasm, tmp_path / file)
        assert all(torch.equal(tensor, expected[name]) for name, tensor in hasm.encoder.state_dict().items())
        assert torch.equal(hasm.decoder.fusion[0].weight, head)


def nvlabs(encoder: dict[str, Tensor]) -> dict[str, Tensor]:
    """A Mix Transformer of ours under the names of NVlabs/SegFormer's mix_transformer.py, as read there."""
    state: dict[str, Tensor] = {}
    for stage in range(4):
        for ours, theirs in (("proj", "proj"), ("layer_norm", "norm")):
            for leaf in ("weight", "bias"):
                state[f"patch_embed{stage + 1}.{theirs}.{leaf}"] = encoder[
                    f"stages.{stage}.patch_embeddings.{ours}.{leaf}"
                ]
        for leaf in ("weight", "bias"):
            state[f"norm{stage + 1}.{leaf}"] = encoder[f"stages.{stage}.layer_norm.{leaf}"]
        for block in range(2):
            here, there = f"stages.{stage}.blocks.{block}.", f"block{stage + 1}.{block}."
            names = {"layernorm_before": "norm1", "layernorm_after": "norm2", "attention.q_proj": "attn.q"}
            names |= {"attention.o_proj": "attn.proj", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
            names |= {"mlp.dwconv.dwconv": "mlp.dwconv.dwconv"}
            if stage < 3:
                names |= {"attention.sequence_reduction.sequence_reduction": "attn.sr"}
                names |= {"attention.sequence_reduction.layer_norm": "attn.norm"}
            for leaf in ("weight", "bias"):
                state |= {f"{there}{theirs}.{leaf}": encoder[f"{here}{ours}.{leaf}"] for ours, theirs in names.items()}
                keys, values = (encoder[f"{here}attention.{part}_proj.{leaf}"] for part in "kv")
                state[f"{there}attn.kv.{leaf}"] = torch.cat([keys, values])
    return state | {"head.weight": torch.zeros(1000, 256), "head.bias": torch.zeros(1000)}


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_hasm_starts_from_the_authors_own_imagenet_weights(prefix: str, tmp_path: Path) -> None:
    given = filled_b0().encoder.state_dict()
    torch.save({prefix + name: tensor for name, tensor in nvlabs(given).items()}, tmp_path / "mit_b0.pth")
    torch.manual_seed(4)
    hasm = HASM(B0)
    start_encoder(hasm, tmp_path / "mit_b0.pth")
    assert all(torch.equal(tensor, given[name]) for name, tensor in hasm.encoder.state_dict().items())


def test_weights_of_another_layout_are_refused_with_the_layouts_that_are_known(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(3), "conv1.bias": torch.zeros(3)}, tmp_path / "a.pth")
    with pytest.raises(AssetError) as raised:
        start_encoder(HASM(B0), tmp_path / "a.pth")
    said = str(raised.value)
    assert all(
        word in said for word in ("NVlabs", "patch_embed1.proj", "mmsegmentation", "transformers", "conv1.weight")
    )
    assert "\n" not in said and len(said) < 400


@pytest.mark.parametrize("prefix", ["", "segformer."])
def test_hasm_starts_from_transformers_imagenet_weights(prefix: str, tmp_path: Path) -> None:
    given = filled_b0()
    plain = SegformerModel(given.encoder.config)
    plain.load_state_dict(given.encoder.state_dict())
    plain.save_pretrained(tmp_path)
    tensors = {prefix + name: tensor for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    save_file(tensors | {"classifier.weight": torch.zeros(2)}, tmp_path / "mit.safetensors")
    torch.manual_seed(4)
    hasm = HASM(B0)
    start_encoder(hasm, tmp_path / "mit.safetensors")
    expected = given.encoder.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in hasm.encoder.state_dict().items())
    with pytest.raises(AssetError, match=r"mit\.safetensors"):
        start_encoder(HASM(preset("hasm", "nano")), tmp_path / "mit.safetensors")


@pytest.mark.parametrize(
    "content", [b"", b"x" * 100, b"\xff\xd8\xff\xe0JFIF", b"PK\3\4" + bytes(60), b"\x80\2c", b"\x80\2}q\0."]
)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_a_file_of_another_kind_is_refused_without_advice_to_run_it(
    content: bytes, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    with pytest.raises(AssetError, match=rf"a\.{suffix}.*(read safely \(\w|expected a dictionary)") as refusal:
        read_external(path)
    assert "weights_only" not in str(refusal.value) and len(str(refusal.value)) < len(str(path)) + 300


def test_vgg16_is_read_from_torchvisions_layout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    widths, state, layers = iter((64, 64, 128, 128, 256, 256, 256)), {}, []
    channels = 3
    for number in (0, 2, 5, 7, 10, 12, 14):
        conv = torch.nn.Conv2d(channels, channels := next(widths), 3, padding=1)
        state |= {f"features.{number}.weight": conv.weight, f"features.{number}.bias": conv.bias}
        layers += [conv, torch.nn.ReLU()] + ([torch.nn.MaxPool2d(2)] if number in (2, 7, 14) else [])
    torch.save({**state, "classifier.0.weight": torch.zeros(3)}, tmp_path / "vgg16.pth")
    image = torch.randn(1, 3, 32, 32)
    found = VGG16Features.from_file(tmp_path / "vgg16.pth")(image)
    plain = torch.nn.Sequential(*layers)
    for features, stop in zip(found, (5, 10, 17), strict=True):
        torch.testing.assert_close(features, plain[:stop](image))
    del state["features.7.bias"]
    torch.save(state, tmp_path / "vgg16.pth")
    with pytest.raises(AssetError, match=r"found 1 missing: features\.7\.bias"):
        VGG16Features.from_file(tmp_path / "vgg16.pth")


def test_a_text_in_place_of_weights_is_told_in_words(tmp_path: Path) -> None:
    (path := tmp_path / "a.pth").write_text("hello")
    with pytest.raises(AssetError, match=r"read safely \(torch has not saved it, or not all of it\)$"):
        read_external(path)
