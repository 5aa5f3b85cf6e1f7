"""The training engine: configuration, data pipeline, training loop, checkpoints, optimisers and evaluation.

Its public names and their behaviour are those of Dassl.pytorch, so that a trainer or a data set written for
Dassl runs on it unchanged. It knows nothing of CLIP, of a data set or of a method.
"""
