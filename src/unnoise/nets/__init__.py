"""Networks for data of any rank: `blocks` is shared; `unet`, `dit`, `autoencoder`, `text`, `controlnet` use it."""
