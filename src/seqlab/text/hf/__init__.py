"""Vocabularies that come with a pretrained model, by `transformers`."""
