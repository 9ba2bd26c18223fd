"""Networks, made to be called on whole mini-batches."""

from asyncopt.problems.networks.all_cnn import AllCNN
from asyncopt.problems.networks.residual import ResNet18, WideResNet
from asyncopt.problems.networks.small import LeNet5, Perceptron
from asyncopt.problems.networks.transformer import Transformer

__all__ = ["AllCNN", "LeNet5", "Perceptron", "ResNet18", "Transformer", "WideResNet"]
