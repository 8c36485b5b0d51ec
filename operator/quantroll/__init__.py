"""quantroll: rolls out quantized LLMs on Kubernetes and proves that they are still good enough."""

__version__ = "0.1.0"
