"""An application that does nothing, with asyncopt's configuration: measures what a sweep costs in Hydra alone."""

import hydra

from asyncopt.run.command_line import CONFIG_FOLDER


@hydra.main(version_base="1.3", config_path=str(CONFIG_FOLDER), config_name="config")
def main(config):
    """Does nothing."""


if __name__ == "__main__":
    main()
