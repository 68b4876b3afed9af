"""A single file is the model it was made from: same latents, same cache, or a clear refusal."""

from __future__ import annotations

import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from bench.peer import Peer
from pipelines import Request, Studio
from pipelines.checkpoints import single_file_loader
from pipelines.checkpoints.catalog import find, locate
from pipelines.checkpoints.formats.tensor_files import read_header
from pipelines.checkpoints.identification.identify import recognise
from pipelines.checkpoints.single_file import SingleFile, published_configs
from pipelines.checkpoints.single_file_catalog import recognise_file
from pipelines.errors import ContactSheetError, ModelUnavailable
from pipelines.model_manager.manager import PipelineManager
from tests.helpers import ldm, tiny, tiny_families
from tests.parity import test_families
from tests.parity.test_parity import diffusers_latents, together
from tests.pipelines.checkpoints.test_identify import ALL_NAMES, MODELS

pytestmark = pytest.mark.usefixtures("one_thread")
BASE = Request(as_diffusers=True,
    model="one.safetensors", prompt="an apple", negative_prompt="a pear", sampler="dpmpp_2m",
    steps=5, guidance_scale=4.5, seed=11, width=32, height=32,
)  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(models):
    """The tiny SD in the original layout, as tensors."""
    return ldm.sd_checkpoint(Peer.load(models / "tiny").pipe)


@pytest.fixture
def shop(shelf, checkpoint):
    """A models folder with a tiny SD as a folder and as a single file."""
    folder, add = shelf
    add("tiny")
    save_file(checkpoint, folder / "one.safetensors")
    return folder


def info_of(folder, name="one.safetensors"):
    return {info.id: info for info in find([folder])}[name]


def test_a_single_file_is_listed_and_found(shop):
    info = info_of(shop)
    assert (info.family, info.source, info.problem) == ("sd", "checkpoint", None)
    assert info.bytes == (shop / "one.safetensors").stat().st_size
    assert locate("one.safetensors", [shop]) == info
    assert locate(str(shop / "one.safetensors"), [shop]).id == info.id, "a path works as well"
    assert info_of(shop, "tiny").source == "folder"


def test_it_makes_the_latents_of_the_folder_it_was_made_from(shop):
    requests = [BASE, BASE.replace(guidance_scale=1.0), BASE.replace(sampler="euler", steps=4)]
    for request, ours in zip(requests, together(shop, requests), strict=True):
        theirs = diffusers_latents(shop, request.replace(model="tiny"))
        worst = (ours - theirs).abs().max().item()
        assert worst <= 1e-4, (request.sampler, worst)


def test_it_makes_a_picture_through_the_studio(shop):
    studio = Studio(shop, device="cpu")
    assert studio.image(BASE).tobytes() == studio.image(BASE.replace(model="tiny")).tobytes()
    assert studio.tokens("one.safetensors", "apple") == studio.tokens("tiny", "apple")
    studio.close()


def test_components_are_cached_and_the_tokenizer_is_shared(shop):
    manager = PipelineManager([shop], device="cpu")
    with manager.use("one.safetensors"):
        assert set(manager.history[-1].loaded) == {"tokenizer", "text_encoder", "unet", "vae"}
    with manager.use("one.safetensors"):
        assert manager.history[-1].loaded == {}
    with manager.use("tiny"):
        assert manager.history[-1].reused == ("tokenizer",)
    parts = manager.cached_bytes
    manager.free_idle()
    with manager.use("tiny"):
        assert manager.cached_bytes * 2 == parts, "its size was known"
    before = manager.fingerprint("one.safetensors")
    tensors = load_file(shop / "one.safetensors")
    tensors["first_stage_model.quant_conv.bias"] += 1
    save_file(tensors, shop / "one.safetensors")
    assert manager.fingerprint("one.safetensors") != before


@pytest.mark.parametrize("layout", ["original", "diffusers"])
def test_a_denoiser_alone_borrows_the_rest(shop, models, checkpoint, layout):
    unet = load_file(models / "twin" / "unet" / "diffusion_pytorch_model.safetensors")
    if layout == "original":
        unet = ldm.under("", ldm.unet(unet, 1))
    save_file(unet, shop / "net.safetensors")
    assert info_of(shop, "net.safetensors").source == "denoiser"
    shutil.copytree(models / "twin", shop / "twin")
    request = BASE.replace(model="net.safetensors")
    (ours,) = together(shop, [request])
    theirs = diffusers_latents(shop, request.replace(model="twin"))
    assert (ours - theirs).abs().max() <= 1e-4


def test_parts_may_lie_in_a_folder_of_the_files_own_name(shop, models):
    shutil.move(shop / "tiny", shop / "one")
    (shop / "one" / "model_index.json").unlink()
    assert [info.id for info in find([shop])] == ["one.safetensors"]
    (ours,) = together(shop, [BASE])
    theirs = diffusers_latents(models, BASE.replace(model="tiny"))
    assert (ours - theirs).abs().max() <= 1e-4


def test_without_a_tokenizer_the_listing_says_what_to_do(shop):
    shutil.rmtree(shop / "tiny")
    problem = info_of(shop).problem
    assert "sizes of a published SD 1.x model" in problem and f"into {shop / 'one'}" in problem


def test_a_published_size_needs_only_the_tokenizer(tmp_path):
    file = ldm.write_header(tmp_path / "real.safetensors", real_shapes("sd1"))
    problem = info_of(tmp_path, "real.safetensors").problem
    assert problem == (
        f"{file} has no tokenizer, and no model here gives it; put a diffusers folder of SD 1.x "
        f"(StableDiffusionPipeline) into the models folder, or this part of one into "
        f"{tmp_path / 'real'}"
    )
    tiny.tokenizer().save_pretrained(tmp_path / "real" / "tokenizer")
    info = info_of(tmp_path, "real.safetensors")
    assert (info.problem, info.family) == (None, "sd")
    manager = PipelineManager([tmp_path], device="cpu")
    assert manager.library.open("real.safetensors").capabilities.sizes.native == (512, 512)
    assert (
        manager.library.open("real.safetensors").configs["scheduler"]["prediction_type"]
        == "epsilon"
    )


def test_another_vocabulary_is_no_donor(shop, models):
    """A tokenizer whose words are others would draw something else without a word."""
    encoder = tiny.text_encoder()
    encoder.resize_token_embeddings(300)
    encoder.save_pretrained(shop / "tiny" / "text_encoder", safe_serialization=True)
    assert "same sizes and vocabulary" in info_of(shop).problem
    with pytest.raises(ModelUnavailable):
        locate("one.safetensors", [shop])


@pytest.mark.parametrize(("name", "kind"), [("x-512.safetensors", "epsilon"),
                                            ("x768.safetensors", "v_prediction")])  # fmt: skip
def test_sd2_says_in_its_name_what_it_predicts(tmp_path, name, kind):
    shapes = real_shapes("sd2")
    for file in (name, "x.safetensors"):
        ldm.write_header(tmp_path / file, shapes)
        tiny.tokenizer().save_pretrained(tmp_path / file.removesuffix(".safetensors") / "tokenizer")
    manager = PipelineManager([tmp_path], device="cpu")
    assert manager.library.open(name).configs["scheduler"]["prediction_type"] == kind
    assert (
        "put 512 (noise, the base model) or 768 (v)" in info_of(tmp_path, "x.safetensors").problem
    )


def test_a_projection_beside_an_encoder_that_has_none_is_left(shop):
    """As in the FLUX files that carry their text encoders."""
    tensors = load_file(shop / "one.safetensors")
    tensors["cond_stage_model.transformer.text_projection.weight"] = torch.eye(16)
    save_file(tensors, shop / "one.safetensors")
    with PipelineManager([shop], device="cpu").use("one.safetensors"):
        pass


def test_sd2_with_open_clip(tmp_path):
    """Linear projections and OpenCLIP's layout, v-prediction said by the metadata."""
    torch.manual_seed(3)
    pipe = tiny.sd("v_prediction")
    pipe.unet = tiny.unet(use_linear_projection=True)
    pipe.save_pretrained(tmp_path / "two", safe_serialization=True)
    spec = {"modelspec.prediction_type": "v"}
    save_file(ldm.sd_checkpoint(pipe, second=True), tmp_path / "one.safetensors", metadata=spec)
    assert info_of(tmp_path).problem is None
    (ours,) = together(tmp_path, [BASE])
    theirs = diffusers_latents(tmp_path, BASE.replace(model="two"))
    assert (ours - theirs).abs().max() <= 1e-4


def test_half_precision_and_sdxls_layout_are_read_exactly(tmp_path):
    """Every component of an SDXL file equals what it was written from."""
    file, parts, configs = tiny_sdxl(tmp_path)
    found = recognise(read_header(file), "x")
    assert (found.family, found.missing, found.precision) == ("sdxl", (), "float16")
    single = SingleFile(file, found, published_configs("sdxl")["model_index"], configs, {})
    for name, part in parts.items():
        loaded = single_file_loader.load(single, name, type(part), torch.float32)
        theirs = {n: t.half().float() for n, t in part.state_dict().items()}
        ours = loaded.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[n], theirs[n]) for n in ours), name


def test_sdxl_makes_the_latents_of_its_folder(tmp_path):
    pipe = tiny_families.sdxl()
    pipe.save_pretrained(tmp_path / "xl", safe_serialization=True)
    save_file(ldm.sdxl_checkpoint(pipe), tmp_path / "one.safetensors")
    assert info_of(tmp_path).family == "sdxl"
    requests = [BASE, BASE.replace(negative_prompt="", guidance_scale=3.0)]
    for request, mine in zip(requests, test_families.ours(tmp_path, requests), strict=True):
        worst = (mine - test_families.theirs(tmp_path / "xl", request)).abs().max().item()
        assert worst <= 1e-4, worst


@pytest.mark.parametrize("texts", ["all", "clips", "none"])
def test_sd3_with_its_encoders_or_some_or_none(tmp_path, texts):
    pipe = tiny_families.sd3()
    pipe.text_encoder.text_projection.weight.data = torch.eye(16)
    pipe.save_pretrained(tmp_path / "three", safe_serialization=True)
    t5 = pipe.text_encoder_3.state_dict()
    del t5["encoder.embed_tokens.weight"]  # the same as `shared.weight`
    clips = [pipe.text_encoder.state_dict(), pipe.text_encoder_2.state_dict()]
    del clips[0]["text_projection.weight"]
    encoders = {"clip_l": ldm.clip(clips[0]), "clip_g": ldm.clip(clips[1]), "t5xxl": t5}
    for name in {"all": (), "clips": ("t5xxl",), "none": tuple(encoders)}[texts]:
        del encoders[name]
    state = {
        **ldm.under("model.diffusion_model.", ldm.sd3(pipe.transformer.state_dict(), 2)),
        **ldm.first_stage(pipe),
    }
    for name, tensors in encoders.items():
        state |= ldm.under(f"text_encoders.{name}.transformer.", tensors)
    save_file(state, tmp_path / "one.safetensors")
    request = BASE.replace(sampler="flow_euler")
    (mine,) = test_families.ours(tmp_path, [request])
    worst = (mine - test_families.theirs(tmp_path / "three", request)).abs().max().item()
    assert worst <= 1e-4, worst


def test_sd3_runs_without_t5_where_nothing_gives_it(tmp_path):
    pipe = tiny_families.sd3(t5=False)
    pipe.save_pretrained(tmp_path / "three", safe_serialization=True)
    save_file(pipe.transformer.state_dict(), tmp_path / "one.safetensors")
    request = BASE.replace(sampler="flow_euler")
    (mine,) = test_families.ours(tmp_path, [request])
    worst = (mine - test_families.theirs(tmp_path / "three", request)).abs().max().item()
    assert worst <= 1e-4, worst


def test_fluxs_original_layout_has_the_shapes_of_its_module():
    """diffusers' conversion knows one width, so it is driven at full size, without memory."""
    from diffusers.loaders import single_file_utils

    model = real_model("flux-dev", "transformer").state_dict()
    made = single_file_utils.convert_flux_transformer_checkpoint_to_diffusers(ldm.flux(model))
    assert {n: t.shape for n, t in made.items()} == {n: t.shape for n, t in model.items()}


@pytest.mark.parametrize("dev", [True, False])
def test_a_flux_transformer_alone(tmp_path, dev):
    pipe = tiny_families.flux(dev=dev)
    pipe.save_pretrained(tmp_path / "flux", safe_serialization=True)
    save_file(pipe.transformer.state_dict(), tmp_path / "one.safetensors")
    assert info_of(tmp_path).problem is None
    request = BASE.replace(sampler="flow_euler", guidance_scale=1.0, negative_prompt="")
    (mine,) = test_families.ours(tmp_path, [request])
    worst = (mine - test_families.theirs(tmp_path / "flux", request)).abs().max().item()
    assert worst <= 1e-4, worst


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda t: t.pop("model.diffusion_model.out.2.bias"), "lacks 1 tensors of its unet"),
        (lambda t: t.pop("first_stage_model.quant_conv.bias"), "lacks 1 tensors of its vae"),
        (
            lambda t: t.update({"first_stage_model.quant_conv.bias": torch.zeros(3)}),
            "its vae has not the shapes of AutoencoderKL",
        ),
    ],
)
def test_incomplete_files_fail_with_the_part_that_lacks(shop, damage, words):
    tensors = load_file(shop / "one.safetensors")
    damage(tensors)
    save_file(tensors, shop / "one.safetensors")
    manager = PipelineManager([shop], device="cpu")
    with pytest.raises(ModelUnavailable, match=words), manager.use("one.safetensors"):
        pass
    with manager.use("tiny"):
        pass


@pytest.mark.parametrize("name", ["a.ckpt", "a.PT", "a.Bin", "a.safetensors", "A.SAFETENSORS"])
def test_pickles_are_listed_with_their_problem(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x80\x04\x95" + b"x" * 100)
    problem = info_of(tmp_path, name).problem
    assert "pickle checkpoint" in problem or "not a safetensors file" in problem
    with pytest.raises(ContactSheetError):
        locate(name, [tmp_path])


def test_links_that_leave_the_models_folders(shop, tmp_path):
    away = tmp_path / "away"
    away.mkdir()
    shutil.move(shop / "one.safetensors", away)
    (shop / "one.safetensors").symlink_to(away / "one.safetensors")
    assert "outside the models folders; name that folder with --models" in info_of(shop).problem
    assert {i.id: i for i in find([shop, away])}["one.safetensors"].problem is None


@pytest.mark.parametrize(
    ("name", "words"),
    [("sdxl-refiner whole", "is a SDXL refiner, which no family runs"),
     ("sd3-medium alone", "has not the sizes of a published SD 3 medium model")],
)  # fmt: skip
def test_recognised_but_not_run(tmp_path, name, words):
    """Neither an unserved family nor an incomplete file may stop the listing."""
    ldm.write_header(tmp_path / "x.safetensors", MODELS[name][0])
    assert words in info_of(tmp_path, "x.safetensors").problem


@settings(max_examples=200, deadline=None)
@given(
    names=st.lists(st.sampled_from(sorted(ALL_NAMES)), max_size=12),
    shapes=st.lists(st.lists(st.integers(0, 3000), max_size=4), min_size=12, max_size=12),
)
def test_any_mix_of_names_and_shapes_is_answered(tmp_path_factory, names, shapes):
    folder = tmp_path_factory.mktemp("any")
    ldm.write_header(folder / "x.safetensors", dict(zip(names, shapes, strict=False)))
    info = info_of(folder, "x.safetensors")
    assert info.problem and "x.safetensors" in info.problem


def test_what_is_no_model_by_itself_says_what_it_is(tmp_path):
    shapes = {"lora_unet_x_attn2_to_k.lora_down.weight": (4, 768)}
    file = ldm.write_header(tmp_path / "style.safetensors", shapes)
    info = info_of(tmp_path, "style.safetensors")
    assert (info.source, info.family) == ("lora", "sd1")
    assert info.problem == (
        f"{file} is no model by itself but a LoRA for SD 1.x (kohya layout, float16)"
    )
    assert recognise_file(file).kind == "lora"


PARAMETERS = {
    ("sd1", "unet"): 859_520_964, ("sd1", "text_encoder"): 123_060_480, ("sd1", "vae"): 83_653_863,
    ("sd2", "unet"): 865_910_724, ("sd2", "text_encoder"): 340_387_840, ("sd2", "vae"): 83_653_863,
    ("sdxl", "unet"): 2_567_463_684, ("sdxl", "text_encoder"): 123_060_480,
    ("sdxl", "text_encoder_2"): 694_659_840, ("sdxl", "vae"): 83_653_863,
    ("sd3-medium", "transformer"): 2_028_328_000, ("sd3-medium", "text_encoder_3"): 4_762_310_656,
    ("flux-dev", "transformer"): 11_901_408_320, ("flux-schnell", "transformer"): 11_891_178_560,
    ("flux-dev", "vae"): 83_819_683,
}  # fmt: skip
"""Numbers of the published models, which a wrong width or depth in a config would miss."""


@pytest.mark.parametrize(("family", "part"), PARAMETERS)
def test_shipped_configs_have_the_published_numbers_of_parameters(family, part):
    model = real_model(family, part)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[family, part]


def real_model(family, part):
    """A published model's module, without memory for its tensors."""
    import diffusers
    import transformers

    library, cls = published_configs(family)["model_index"][part]
    kind = getattr({"diffusers": diffusers, "transformers": transformers}[library], cls)
    model = single_file_loader.empty_module(kind, published_configs(family)[part])
    if library == "transformers":
        model.tie_weights()
    return model


def real_shapes(family):
    """Names and shapes of a published checkpoint, in the original layout."""
    names = ("unet", "vae", "text_encoder")
    unet, vae, text = (real_model(family, part).state_dict() for part in names)
    second = family == "sd2"
    state = {
        **{f"model.diffusion_model.{n}": t for n, t in ldm.unet(unet, 2).items()},
        **{f"first_stage_model.{n}": t for n, t in ldm.vae(vae, 4).items()},
    }
    prefix = f"cond_stage_model.{'model' if second else 'transformer'}."
    encoder = ldm.open_clip(text) if second else ldm.clip(text)
    state |= {prefix + n: t for n, t in encoder.items()}
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def tiny_sdxl(tmp_path):
    """A tiny SDXL as a file in the original layout, its parts, and their configs."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    torch.manual_seed(0)
    unet = tiny.unet(
        cross_attention_dim=32, use_linear_projection=True, addition_embed_type="text_time",
        addition_time_embed_dim=8, transformer_layers_per_block=(1, 1),
        projection_class_embeddings_input_dim=16 + 6 * 8,
    )  # fmt: skip
    one, vae = tiny.text_encoder(), tiny.vae()
    two = CLIPTextModelWithProjection(CLIPTextConfig.from_dict(one.config.to_dict())).eval()
    parts = {"unet": unet, "text_encoder": one, "text_encoder_2": two, "vae": vae}
    state = {
        **ldm.under("model.diffusion_model.", ldm.unet(unet.state_dict(), 1)),
        **ldm.under("conditioner.embedders.0.transformer.", ldm.clip(one.state_dict())),
        **ldm.under("conditioner.embedders.1.model.", ldm.open_clip(two.state_dict())),
        **ldm.under("first_stage_model.", ldm.vae(vae.state_dict(), 3)),
    }
    half = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
    save_file(half, tmp_path / "xl.safetensors")
    configs = {
        name: part.config.to_dict() if hasattr(part.config, "to_dict") else dict(part.config)
        for name, part in parts.items()
    }
    return tmp_path / "xl.safetensors", parts, configs
