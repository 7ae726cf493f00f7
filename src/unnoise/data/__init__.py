"""Captioned pictures: where they come from (`emoji`, `folder`, `tars`), and how one is turned into many (`view`)."""
