"""Run one experiment, or a sweep of many: python run.py batch_size=64 model=wide"""

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from dcgan_exp.config import from_hydra
from dcgan_exp.launching import launch, run_job


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(composed: DictConfig) -> float | None:
    """Hydra's entry: the composed configuration becomes a typed one, once."""
    return run_job(from_hydra(composed), Path(HydraConfig.get().runtime.output_dir))


if __name__ == "__main__":
    launch(main)
