"""A script with five errors that no program reports. It is checked, never run."""

from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionXLPipeline

pipe = StableDiffusionXLPipeline.from_pretrained("stabilityai/sdxl-turbo")
pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config, use_karas_sigmas=True)
pipe.load_lora_weights("latent-consistency/lcm-lora-sdv1-5")
image = pipe("a (lighthouse:1.3) at dawn", guidance_scale=7.5, num_inference_steps=1000).images[0]
image.save("lighthouse.png")
