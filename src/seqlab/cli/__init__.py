"""The verbs of the command line; thin: parse, call, print. Heavy imports wait until a verb needs them."""

from seqlab.cli import look, study, train, use
from seqlab.cli.app import app as app
from seqlab.cli.app import main as main

VERBS = (look, train, use, study)
"""A verb registers itself when its module is imported."""
