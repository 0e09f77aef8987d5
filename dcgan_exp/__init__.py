"""Configuration-driven experiments with DCGANs on TensorFlow and Keras 3.

from dcgan_exp import load_run, train, compare
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dcgan_exp.api import LoadedRun, compare, load_run, train

__version__ = "0.1.0"
__all__ = ["LoadedRun", "__version__", "compare", "load_run", "train"]


def __getattr__(name: str) -> Any:
    """PEP 562: what `__all__` names is imported when it is used, so that `import dcgan_exp` is instant."""
    if name in __all__:
        from dcgan_exp import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
