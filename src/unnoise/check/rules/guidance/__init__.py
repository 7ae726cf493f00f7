"""Rules of guidance: its weight, its convention, and whether it acts."""
