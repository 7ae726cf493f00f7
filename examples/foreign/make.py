"""Write a tiny model with the layout of Stable Diffusion 1 and random weights, as a diffusers folder.

python examples/foreign/make.py tiny-sd
"""

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

LETTERS = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))]
WORDS = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a tiny model in the layout of diffusers.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    torch.manual_seed(0)
    text = CLIPTextConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, vocab_size=len(WORDS),
        bos_token_id=len(WORDS) - 2, eos_token_id=len(WORDS) - 1,
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(32, 64), layers_per_block=1, cross_attention_dim=32, norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(16,) * 4, down_block_types=("DownEncoderBlock2D",) * 4, latent_channels=4,
        up_block_types=("UpDecoderBlock2D",) * 4, norm_num_groups=8,
    )  # fmt: skip
    words = CLIPTokenizer(vocab={word: number for number, word in enumerate(WORDS)}, merges=[], model_max_length=77)
    pipe = StableDiffusionPipeline(
        vae=vae, unet=unet, text_encoder=CLIPTextModel(text), tokenizer=words, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1, clip_sample=False,
            set_alpha_to_one=False,
        ),
    )  # fmt: skip
    pipe.save_pretrained(folder)
    print(f"{folder}: {sum(one.numel() for one in unet.parameters())} parameters in the network")


if __name__ == "__main__":
    main()
