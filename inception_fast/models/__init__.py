"""The six reference networks in plain PyTorch, a file per family, and :func:`create_model` to build them by name."""

from inception_fast.models.googlenet import GoogLeNet
from inception_fast.models.inception_resnet import InceptionResnetV1, InceptionResnetV2
from inception_fast.models.inception_v2 import InceptionV2
from inception_fast.models.inception_v3 import InceptionV3
from inception_fast.models.inception_v4 import InceptionV4
from inception_fast.models.registry import create_model, input_size, list_models

__all__ = [
    "GoogLeNet",
    "InceptionResnetV1",
    "InceptionResnetV2",
    "InceptionV2",
    "InceptionV3",
    "InceptionV4",
    "create_model",
    "input_size",
    "list_models",
]
