"""Rules of guidance: its scale, its convention and its effect."""
