"""Models of other makers: networks are diffusers' and transformers' own classes, everything around them is ours."""
