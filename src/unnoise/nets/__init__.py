"""Networks that accept any rank: `blocks` are shared; `unet`, `dit`, `autoencoder` and `text` are one file each."""
