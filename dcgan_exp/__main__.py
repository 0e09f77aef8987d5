"""`python -m dcgan_exp VERB ...`."""

from dcgan_exp.cli import main

main()
