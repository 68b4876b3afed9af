"""Stage 7: write the checkpoint as a diffusers folder in half precision.

    python -m training.stages.export --out models/emoji

`StableDiffusionPipeline.from_pretrained` loads the folder; it holds safetensors and JSON only.
"""

import argparse
import json
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from training.data.sources import cache_dir
from training.data.tokenizer import build_text_encoder
from training.optim.checkpoint import load_checkpoint, unprefixed
from training.optim.run_folder import log, start_log
from training.stages.meanings import taught_text
from training.stages.samples import make_pipeline
from training.stages.unet import Model, build_unet, prepare, read_config


def averaged_pipeline(cache: Path) -> StableDiffusionPipeline:
    """The moving average of the UNet and text encoder with the normalised autoencoder, float32."""
    config = read_config(cache / "unet")
    corpus = prepare(config, cache).corpus
    model = Model(
        build_unet(config),
        build_text_encoder(len(corpus.tokenizer), config.text_hidden, config.text_layers),
    )
    tensors, state = load_checkpoint(cache / "unet" / "checkpoint.safetensors")
    model.load_state_dict(unprefixed(tensors, "average"))
    taught = taught_text(cache, int(state["step"]))
    if taught:
        model.text.load_state_dict(taught)
    log.info("checkpoint of step %d, %.0f s", state["step"], state["spent"])
    return make_pipeline(model.unet.eval(), model.text.eval(), corpus.tokenizer, corpus.latents.vae)


def export(pipeline: StableDiffusionPipeline, out: Path) -> int:
    """Write the pipeline in float16 and return the bytes of its weights.

    The pipeline's own modules become float16.
    """
    for module in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        module.to(memory_format=torch.contiguous_format).half()
    pipeline.save_pretrained(out, safe_serialization=True)
    # transformers loads in the dtype that the config names, diffusers in float32: where the caller
    # names none, both must say float32, or the UNet meets half-precision text.
    config = out / "text_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"dtype": "float32"}, indent=2))
    return sum(path.stat().st_size for path in out.rglob("*.safetensors"))


def main() -> None:
    """The command line of this stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, default=cache_dir())
    parser.add_argument("--out", type=Path, default=Path("models/emoji"))
    args = parser.parse_args()
    start_log(args.cache, "export")
    size = export(averaged_pipeline(args.cache), args.out)
    log.info("%s: %.1f MB of weights", args.out, size / 1e6)


if __name__ == "__main__":
    main()
