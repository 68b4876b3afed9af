"""Tests of `pipelines.rendering`."""
