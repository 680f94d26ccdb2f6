"""Parts of tools/export_bundle.py: from a PyTorch model to a bundle. Each file answers one question."""
