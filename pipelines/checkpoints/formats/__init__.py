"""File formats of weights: safetensors and GGUF."""
