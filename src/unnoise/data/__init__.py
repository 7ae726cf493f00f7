"""Data sets of captioned images: `open` opens them, `shuffle` orders them, `view` varies an image and its caption."""
