"""ProPIH's exit head: labels, measurements and training, on a trained generator."""
