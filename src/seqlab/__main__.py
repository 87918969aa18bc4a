"""`python -m seqlab`, also under torchrun."""

from seqlab.cli import main

main()
