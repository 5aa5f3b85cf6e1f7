"""What is put in front of any prompt learner: a class ``<Learner>_<Plugin>`` that is both."""

from trainers.plugins.stack import on_top

__all__ = ["on_top"]
